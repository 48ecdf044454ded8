"""A text query end to end over HTTP against its own floor: the same encoding and search called in process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from app.core import Core
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from benchmarks.figures import Figure, median
from benchmarks.gallery import open_with_model

_ROUNDS, _WARM = 300, 30
_QUERIES = (
    "a woman with long brown hair in a red jacket and blue jeans",
    "a man wearing a grey hoodie and black trousers, carrying a black backpack",
    "She has on a white shirt, a green skirt and brown boots.",
    "an elderly man in a dark coat with a hat and a suitcase",
)


def measure_queries(gallery: Path, data_dir: Path) -> list[Figure]:
    """Medians over the same queries, in turn: over HTTP, and encode + search in process."""
    core = open_with_model(data_dir)
    for _ in core.ingest().run(open_source(gallery)):
        pass
    core.close()
    # Without the cache of texts: four queries would be encoded four times.
    with (
        _server(Settings(data_dir=data_dir, port=0, query_cache_bytes=0)) as (url, core),
        httpx.Client(base_url=url) as client,
    ):
        over_http, told, floor = [], [], []
        for number in range(_ROUNDS + _WARM):
            query = _QUERIES[number % len(_QUERIES)]
            began = time.perf_counter()
            answer = client.post("/v1/search/text", json={"query": query, "limit": 10})
            over_http.append(time.perf_counter() - began)
            told.append(answer.raise_for_status().json()["took_ms"]["total"])
            floor.append(_encode_and_search(core, query))
    http, inside, bare = (median(times[_WARM:]) for times in (over_http, told, floor))
    return [
        Figure("text query over HTTP", http * 1000, "ms", bare * 1000, "encode + search in process"),
        Figure("text query inside the server", inside, "ms", bare * 1000, "encode + search in process"),
    ]


def _encode_and_search(core: Core, query: str) -> float:
    model = core.active.current()
    began = time.perf_counter()
    vector = model.encoder.encode_texts_here([query])[0].vector
    model.view("text").search(vector, 80)
    return time.perf_counter() - began


@contextmanager
def _server(settings: Settings) -> Iterator[tuple[str, Core]]:
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    # Named as TCP, for only then asyncio turns off the delay of small packets (Nagle): 40 ms on each answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        deadline = time.monotonic() + 60
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
        try:
            yield url, app.state.core
        finally:
            server.should_exit = True
            thread.join()
