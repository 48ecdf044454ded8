"""Rows 12 to 17 of the standards' table, over HTTP with a real server and a real worker: hostile and broken uploads.

| row | test |
|---|---|
| 12 | test_row_12_... the same key again, the same bytes under a new key, two requests with one key at once |
| 13 | test_row_13_... 0-byte, truncated, text, animated, 16-bit, CMYK, rotated, 1x1 in one batch |
| 14 | test_row_14_... 30,000 x 30,000 pixels in a few KB |
| 15 | test_row_15_... zip bomb, nested zip, 100,000 entries, wrong sizes |
| 16 | test_row_16_... zip slip, absolute path, symlink, Windows names |
| 17 | test_row_17_... over the limit with and without Content-Length, slow, broken off, too many, no room |
"""

import io
import json
import os
import shutil
import socket
import struct
import tarfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.commands.models import activate_version, register_checkpoint
from app.connections import HEAD_BYTES
from app.core import opened
from app.settings import Settings
from tests.app.test_batches_api import linked, tarred, zipped
from tests.end_to_end.test_service_process import checkpoint, serving
from tests.waiting import LIMIT_S, until

__all__ = ["checkpoint"]
URL = "/v1/gallery/batches"
MOST_BYTES, MOST_FILES, IDLE_S = 40 << 20, 500, 1.0
LIMITS = {
    "DESCRY_MAX_BATCH_BYTES": str(MOST_BYTES),
    "DESCRY_MAX_BATCH_FILES": str(MOST_FILES),
    "DESCRY_MAX_STAGING_BYTES": str(60 << 20),
    "DESCRY_MAX_UPLOADS": "2",
    "DESCRY_BODY_IDLE_S": str(IDLE_S),
    "DESCRY_BODY_MIN_RATE": "200",
    "DESCRY_MIN_FREE_BYTES": "0",
    "DESCRY_WORKER_POLL_S": "0.05",
}
_BEGIN = b'--b\r\nContent-Disposition: form-data; name="files"; filename="1.jpg"\r\n\r\n'


def below(folder: Path) -> list[Path]:
    """All that is in a folder, of which a server may delete parts meanwhile."""
    return [Path(root) / name for root, folders, files in os.walk(folder) for name in (*folders, *files)]


class Site:
    """A server, its folder, and what one does with them."""

    def __init__(self, client: httpx.Client, data: Path) -> None:
        self.client, self.data = client, data

    def send(self, entries: dict[str, bytes], **headers: str) -> httpx.Response:
        return self.archive(zipped(entries), **headers)

    def archive(self, data: bytes, **headers: str) -> httpx.Response:
        return self.client.post(URL, files={"archive": ("a", data)}, headers=headers)

    def done(self, response: httpx.Response) -> dict[str, Any]:
        assert response.status_code == 202, response.text
        deadline = time.monotonic() + LIMIT_S
        while True:
            job: dict[str, Any] = self.client.get(response.headers["location"]).json()
            if job["state"] in ("succeeded", "failed", "cancelled"):
                assert job["state"] == "succeeded", job
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.02)

    def outcomes(self, job: dict[str, Any]) -> dict[str, str]:
        items = self.client.get(f"/v1/jobs/{job['id']}/items", params={"limit": 1000}).json()["items"]
        return {item["name"]: item["code"] or item["status"] for item in items}

    def images(self) -> int:
        found: int = self.client.get("/v1/gallery").json()["images"]
        return found

    def jobs(self) -> int:
        return len(self.client.get("/v1/jobs", params={"limit": 1000}).json()["jobs"])

    def staged(self) -> list[Path]:
        return below(self.data / "staging")

    def until_nothing_is_staged(self) -> None:
        until(lambda: not self.staged(), "nothing is staged")

    def refused(self, response: httpx.Response, status: int, code: str) -> None:
        """Refused with a typed error, nothing staged, no job, and the server answers."""
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        self.until_nothing_is_staged()
        assert not [path for path in below(self.data.parent) if "evil" in path.name]
        assert self.client.get("/readyz").status_code == 200

    @contextmanager
    def raw(self, head: bytes) -> Iterator[socket.socket]:
        port = self.client.base_url.port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as connection:
            connection.sendall(head)
            yield connection


def head(*lines: str, path: str = URL, kind: str = "multipart/form-data; boundary=b") -> bytes:
    words = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", *lines]
    return "\r\n".join(words).encode() + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and problem of a response."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(65536)
        assert block, received
        received += block
    top, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return int(top.split()[1]), json.loads(body)


@contextmanager
def feeding(*connections: socket.socket) -> Iterator[None]:
    """Keep bodies going, fast enough to be waited for."""
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(IDLE_S / 10):
            for connection in connections:
                connection.sendall(bytes(1000))

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("site") / "data"
    with opened(Settings(data_dir=data, device="cpu")) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "random").id)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setenv(name, value)
        with serving(data) as (client, _):
            yield Site(client, data)
            assert "Traceback" not in (data.parent / "server.log").read_text()


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (30, 60), **options: Any) -> bytes:  # noqa: ANN401  Pillow's
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG", **options)
    return out.getvalue()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401  Pillow's
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_row_12_a_key_that_is_sent_again_and_bytes_that_are(site: Site) -> None:
    batch = {f"{number}.jpg": jpeg((number, 12, 12)) for number in range(3)}
    key = {"Idempotency-Key": "row-12"}
    first = site.send(batch, **key)
    job = site.done(first)
    images, jobs = site.images(), site.jobs()
    again = site.send(batch, **key)
    assert (again.status_code, again.json()["id"], again.headers["location"]) == (
        202,
        job["id"],
        first.headers["location"],
    )
    assert (site.images(), site.jobs()) == (images, jobs)
    site.refused(site.send({"other.jpg": b"x"}, **key), 409, "idempotency_key_reused")
    fresh = site.done(site.send(batch, **{"Idempotency-Key": "row-12 anew"}))
    assert set(site.outcomes(fresh).values()) == {"duplicate"}
    assert (site.images(), site.jobs()) == (images, jobs + 1)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: site.send(batch, **{"Idempotency-Key": "row-12 at once"}), range(2)))
    assert both[0].json()["id"] == both[1].json()["id"]
    site.done(both[0])
    assert site.jobs() == jobs + 2
    site.until_nothing_is_staged()


def test_row_13_every_kind_of_file_in_one_batch(site: Site) -> None:
    frames = [Image.new("RGB", (20, 40), (value, 0, 99)) for value in (10, 200)]
    turned = Image.Exif()
    turned[0x0112] = 6
    batch = {
        "empty.jpg": b"",
        "empty-too.jpg": b"",
        "truncated.jpg": jpeg((1, 13, 13), (300, 600))[:-200],
        "text.jpg": b"not a picture at all\n" * 9,
        "animated.webp": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "animated.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "sixteen.png": saved(Image.fromarray(np.full((60, 30), 40_000, np.uint16)), "PNG"),
        "cmyk.jpg": saved(Image.new("CMYK", (30, 60), (10, 200, 90, 4)), "JPEG"),
        "rotated.jpg": jpeg((2, 13, 13), (90, 31), exif=turned),
        "one.png": saved(Image.new("RGB", (1, 1), (3, 13, 13)), "PNG"),
        "good.jpg": jpeg((4, 13, 13)),
    }
    job = site.done(site.send(batch))
    bad = {
        "empty.jpg": "file_empty",
        "empty-too.jpg": "file_empty",
        "truncated.jpg": "image_damaged",
        "text.jpg": "not_an_image",
        "animated.gif": "format_unsupported",
    }
    assert site.outcomes(job) == {name: bad.get(name, "ingested") for name in batch}
    items = site.client.get(f"/v1/jobs/{job['id']}/items").json()["items"]
    number = next(item["image_id"] for item in items if item["name"] == "rotated.jpg")
    with Image.open(io.BytesIO(site.client.get(f"/v1/images/{number}/file").content)) as stored:
        assert (stored.size, stored.getexif().get(0x0112)) == ((31, 90), None)
    site.until_nothing_is_staged()


def flood() -> bytes:
    """A sound PNG of 30,000 x 30,000 pixels of one bit."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + 30_000 // 8)) for _ in range(30_000)) + rows.flush()
    parts = {b"IHDR": struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0), b"IDAT": data, b"IEND": b""}
    body = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_row_14_a_flood_of_pixels_is_refused_before_it_is_decoded(site: Site) -> None:
    data = flood()
    assert len(data) < 150_000
    job = site.done(site.send({"flood.png": data, "good.jpg": jpeg((1, 14, 14))}))
    assert site.outcomes(job) == {"flood.png": "too_many_pixels", "good.jpg": "ingested"}
    found = site.client.post("/v1/search/image", files={"file": ("flood.png", data)})
    assert (found.status_code, found.json()["code"]) == (422, "too_many_pixels")
    # Another limit might let it in: it alone is kept for a retry, which this server rejects again.
    assert job["retryable"] is True
    again = site.done(site.client.post(f"/v1/jobs/{job['id']}/retry"))
    assert site.outcomes(again) == {"flood.png": "too_many_pixels"}
    # A worker says how a job ended, and then takes away what no retry needs.
    until(lambda: [path.name for path in site.staged() if path.is_file()] == ["flood.png"], "it alone is kept")
    shutil.rmtree(site.data / "staging" / job["id"])


def lying_zip() -> bytes:
    """Says that its entry has 10 bytes; it has 30 MiB."""
    data = bytearray(zipped({"1.jpg": bytes(30 << 20)}))
    for start, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(start) + offset
        data[at : at + 4] = struct.pack("<I", 10)
    return bytes(data)


def test_row_15_bombs_are_refused_and_leave_nothing(site: Site) -> None:
    jobs = site.jobs()
    site.refused(site.send({"1.jpg": b"ok", "2.jpg": bytes(45 << 20)}), 413, "batch_too_large")
    site.refused(site.archive(tarred({"1.jpg": bytes(45 << 20)})), 413, "batch_too_large")
    inner = zipped({"1.jpg": bytes(30 << 20)})
    site.refused(site.send({"inner.zip": inner}), 422, "batch_entry_refused")
    site.refused(site.send({f"{number}": b"" for number in range(100_000)}), 413, "batch_too_large")
    site.refused(site.archive(lying_zip()), 422, "archive_unreadable")
    short = bytearray(tarred({"1.jpg": b"x" * 600}, mode="w"))
    short[124:136] = b"%011o\0" % (20 << 20)  # the size that the header tells
    short[148:156] = b"%06o\0 " % (sum(short[:148]) + sum(short[156:512]) + 8 * 32)
    site.refused(site.archive(bytes(short)), 422, "archive_unreadable")
    assert site.jobs() == jobs


def test_row_16_nothing_lands_outside_staging(site: Site) -> None:
    jobs = site.jobs()
    hostile = [zipped({name: b"x"}) for name in ("../evil.jpg", "/tmp/evil.jpg", "a/../../evil.jpg", "/evil.jpg")]
    hostile += [zipped({name: b"x"}) for name in ("..\\evil.jpg", "C:/evil.jpg", "C:evil.jpg", "\\\\host\\evil.jpg")]
    hostile += [tarred({"../evil.jpg": b"x"}), tarred({"/tmp/evil.jpg": b"x"}), linked()]
    hostile += [tarred({"evil.jpg": b""}, kind) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)]
    for data in hostile:
        site.refused(site.archive(data), 422, "batch_entry_refused")
    for name in ("../evil.jpg", "/tmp/evil.jpg", "..\\evil.jpg"):
        site.refused(site.client.post(URL, files={"files": (name, b"x")}), 422, "batch_entry_refused")
    assert site.jobs() == jobs
    assert not Path("/tmp/evil.jpg").exists()


def test_row_17_a_body_over_the_limit_is_refused_early(site: Site) -> None:
    paths = {URL: MOST_BYTES + 1024 * MOST_FILES, "/v1/search/image": 21 << 20}
    for path, limit in paths.items():
        with site.raw(head(f"Content-Length: {limit * 10}", path=path)) as connection:
            assert answer(connection)[0] == 413  # though not a byte of the body was sent
        with site.raw(head("Transfer-Encoding: chunked", path=path) + chunk(_BEGIN)) as connection:
            sent, status, waiting = 0, 0, b""
            connection.settimeout(0.0)
            while not status:
                try:
                    waiting = waiting or chunk(bytes(1 << 20))
                    done = connection.send(waiting)
                    sent, waiting = sent + done, waiting[done:]
                except BlockingIOError:
                    time.sleep(0.001)
                try:
                    status = int(connection.recv(20).split()[1])
                except BlockingIOError:
                    assert sent < 3 * limit
            assert status == 413
    with site.raw(head("Content-Length: 3000000", path="/v1/search/text", kind="application/json")) as connection:
        assert answer(connection)[1]["code"] == "body_too_large"
    site.until_nothing_is_staged()


def test_row_17_a_slow_body_is_ended_and_leaves_nothing(site: Site) -> None:
    requests = (
        head("Content-Length: 100000") + _BEGIN,  # silent
        head("Content-Length: 100000", path="/v1/search/image") + _BEGIN,
        head("Content-Length: 1000", path="/v1/search/text", kind="application/json") + b'{"query": ',
    )
    for request in requests:
        with site.raw(request) as connection:
            status, problem = answer(connection)
            assert (status, problem["code"]) == (408, "body_timeout")
            assert connection.recv(10) == b""  # closed
    with site.raw(head("Content-Length: 100000") + _BEGIN) as connection:  # a byte now and then
        connection.settimeout(0.05)
        began = time.monotonic()
        while True:
            try:
                connection.send(b"x")
                first = connection.recv(65536)
                break
            except TimeoutError:
                assert time.monotonic() < began + LIMIT_S
        assert b" 408 " in first.split(b"\r\n")[0]
    site.until_nothing_is_staged()


def test_row_17_a_head_that_trickles_and_a_body_that_nobody_wants_are_ended(site: Site) -> None:
    with site.raw(b"POST /v1/search/text HTTP/1.1\r\nHost: 127.0.0.1\r\n") as connection:
        assert connection.recv(10) == b""
    with site.raw(head("Content-Length: 1000000", path="/nowhere")) as connection:
        assert answer(connection)[0] == 404
        connection.settimeout(0.05)
        deadline = time.monotonic() + LIMIT_S
        closed = False
        while not closed:
            try:
                connection.send(b"x")
                closed = connection.recv(10) == b""
            except TimeoutError:
                assert time.monotonic() < deadline
            except ConnectionError:
                closed = True


def test_row_17_a_head_without_end_is_refused(site: Site) -> None:
    begin = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: "
    with site.raw(begin.ljust(HEAD_BYTES + 1, b"a")) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    with site.raw(begin.ljust(HEAD_BYTES // 2, b"a") + b"\r\n\r\n") as connection:
        assert answer(connection)[0] == 200


def test_row_17_a_client_that_vanishes_leaves_nothing(site: Site) -> None:
    with site.raw(head("Content-Length: 20000000") + _BEGIN + bytes(5 << 20)) as connection, feeding(connection):
        until(lambda: any(path.is_file() and path.stat().st_size for path in site.staged()), "a part is staged")
    site.until_nothing_is_staged()


def test_row_17_uploads_and_their_bytes_are_bounded(site: Site) -> None:
    body = head("Content-Length: 40000000") + _BEGIN + bytes(100_000)
    with site.raw(body) as one, site.raw(body) as other, feeding(one, other):
        until(lambda: len(list((site.data / "staging").iterdir())) == 2, "both are being staged")
        busy = site.send({"1.jpg": jpeg((1, 17, 17))})
        assert (busy.status_code, busy.json()["code"]) == (429, "uploads_busy")
        assert int(busy.headers["retry-after"]) > 0
        assert site.client.post("/v1/search/text", json={"query": "a red coat"}).status_code == 200
    site.until_nothing_is_staged()
    blocks = np.random.default_rng(17).bytes(25 << 20)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("1.jpg", "2.jpg"):
            packed.writestr(name, blocks[: 18 << 20])
    full = site.archive(archive.getvalue())  # 36 MiB as sent, and 36 MiB unpacked
    assert int(full.headers["retry-after"]) > 0
    site.refused(full, 507, "staging_full")
