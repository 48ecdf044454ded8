"""The tool against an endpoint that misbehaves in every way that endpoints do."""

import base64
import email.utils
import io
import json
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.loops import finished
from tests.training.captioning.endpoint import GOOD, Asked, Handler, serving
from training.captioning import load_descriptions
from training.captioning.asking import Describer, Limits, open_tasks
from training.captioning.client import Endpoint, check_consent
from training.captioning.ledger import Ledger, Prices, Totals
from training.captioning.pictures import hashes
from training.captioning.prompts import PLAIN, Style
from training.errors import DescriptionsError

KEY = "sk-very-secret-0123456789"
QUICK: dict[str, float | None] = {"first_wait": 0.01, "concurrency": 2}


def pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 90), (number * 40 % 256, number * 90 % 256, 128)).save(path)
    return paths


def describe(
    folder: Path,
    url: str,
    *,
    count: int = 1,
    timeout: float = 20.0,
    prices: Prices | None = None,
    retry_failed: bool = False,
    styles: tuple[Style, ...] = (PLAIN,),
    **limits: float | None,
) -> tuple[Totals, str]:
    """One run of the tool over `count` pictures; returns the file's totals and why it stopped."""
    paths = pictures(folder / "images", count)
    ledger = Ledger(folder / "out.jsonl")
    try:
        found = list(zip(hashes(paths), paths, strict=True))
        for image, path in found:
            ledger.image(image, path.name)
        tasks = open_tasks(ledger, found, "m", lambda image: styles, retry_failed=retry_failed)
        describer = Describer(
            Endpoint(url, "m", KEY, timeout=timeout),
            ledger,
            Limits(**{**QUICK, **limits}),  # type: ignore[arg-type]
            prices=prices,
            local=True,
            rng=random.Random(0),
        )
        finished(describer.run(tasks))
    finally:
        ledger.close()
    return ledger.counts.totals, describer.stopped


def then_good(first: Callable[[Handler], None], *, times: int = 1) -> Callable[[Handler, Asked], None]:
    """Behave so the first times that a picture is asked about, then well."""

    def behave(handler: Handler, asked: Asked) -> None:
        if asked.before < times:
            first(handler)
        else:
            handler.say(GOOD)

    return behave


def test_good_answers_are_kept_with_their_cost(tmp_path: Path) -> None:
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        totals, stopped = describe(tmp_path, endpoint.url, count=5, prices=Prices(2.0, 10.0))
        again, _ = describe(tmp_path, endpoint.url, count=5, prices=Prices(2.0, 10.0))
    assert (totals.finished, totals.requests, totals.tokens_in, totals.tokens_out) == (5, 5, 5000, 250)
    assert totals.cost == pytest.approx(5 * (1000 * 2 + 50 * 10) / 1e6)
    assert (stopped, again, len(endpoint.seen)) == ("", totals, 5)
    assert {asked.authorization for asked in endpoint.seen} == {f"Bearer {KEY}"}
    assert {asked.path for asked in endpoint.seen} == {"/v1/chat/completions"}
    texts = load_descriptions(tmp_path / "out.jsonl", tmp_path / "images")
    assert {path.name for path in texts} == {f"{number}.png" for number in range(5)}
    assert all((text.identity, text.clothing) == (GOOD["identity"], GOOD["clothing"]) for (text,) in texts.values())


BROKEN: dict[str, tuple[Callable[[Handler], None], bool]] = {
    "503": (lambda h: h.send(503, b"busy"), False),
    "429 without a time": (lambda h: h.send(429, b'{"error": {"message": "slow down"}}'), False),
    "reset": (lambda h: h.reset(), True),
    "half a body": (lambda h: h.send(200, b'{"choices": [{"mess', promise=4000), True),
    "no JSON": (lambda h: h.send(200, b"<html>gateway</html>"), True),
    "no choices": (lambda h: h.send(200, b'{"choices": []}'), True),
    "an error under 200": (lambda h: h.send(200, b'{"error": {"message": "upstream"}}'), True),
    "null": (lambda h: h.send(200, b"null"), True),
    "endless": (lambda h: h.send(200, b" " * (2 << 20)), True),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_request_without_an_answer_is_repeated(tmp_path: Path, name: str) -> None:
    first, may_be_billed = BROKEN[name]
    with serving(then_good(first, times=2)) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url)
    assert (totals.finished, totals.errors, totals.requests, totals.unanswered) == (1, 2, 3, 0)
    assert totals.may_be_billed == (2 if may_be_billed else 0)


@pytest.mark.parametrize("first", [Handler.hang, Handler.trickle])
def test_slow_answers_end_with_the_time_limit(tmp_path: Path, first: Callable[[Handler], None]) -> None:
    with serving(then_good(first)) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url, timeout=2.0)
    assert (totals.finished, totals.errors, totals.may_be_billed) == (1, 1, 1)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_all_requests(tmp_path: Path, as_date: bool) -> None:
    told: list[float] = []

    def behave(handler: Handler, asked: Asked) -> None:
        if not told:
            told.append(time.monotonic())
            wait = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "0.4"
            handler.send(429, b"{}", retry_after=wait)
        else:
            handler.say(GOOD)

    with serving(behave) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url, count=3, concurrency=1)
    assert (totals.finished, totals.errors) == (3, 1)
    # A date has whole seconds: of two at least one is left.
    assert endpoint.seen[1].time - told[0] >= (0.9 if as_date else 0.39)


def test_an_endless_retry_after_stops_the_run(tmp_path: Path) -> None:
    with (
        serving(lambda handler, asked: handler.send(429, b"{}", retry_after="86400")) as endpoint,
        pytest.raises(DescriptionsError, match="asks to wait for 86400 s"),
    ):
        describe(tmp_path, endpoint.url, count=4, concurrency=1)
    assert len(endpoint.seen) == 1


REJECTED = {
    "no JSON": "Certainly! Here you go.",
    "a missing field": {"identity": GOOD["identity"]},
    "a refusal": "I'm sorry, but I can't help with identifying people.",
    "clothes in the identity": {**GOOD, "identity": "A young man with short hair and a black jacket on."},
    "no lower garment": {**GOOD, "clothing": "She wears a red shirt with a small white logo on it."},
    "a line break": {**GOOD, "clothing": "She wears a red shirt\nand blue jeans with white shoes."},
    "Spanish": {**GOOD, "clothing": "Una mujer con camisa roja, pantalones azules y zapatos blancos, muy elegante."},
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected_answers_are_asked_for_again_with_the_reason(tmp_path: Path, name: str) -> None:
    with serving(then_good(lambda handler: handler.say(REJECTED[name]))) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url)
    assert (totals.finished, totals.rejected, totals.answers, totals.tokens_in) == (1, 1, 2, 2000)
    first, second = (asked.messages for asked in endpoint.seen)
    assert second[:2] == first
    assert second[2]["role"] == "assistant"
    assert second[3]["content"].startswith("Your answer cannot be used: ")


def test_given_up_images_say_why_and_can_be_asked_for_again(tmp_path: Path) -> None:
    answers = [REJECTED["a missing field"]] * 3 + [GOOD]
    with serving(lambda handler, asked: handler.say(answers[asked.before])) as endpoint:
        first, _ = describe(tmp_path, endpoint.url, reasks=2)
        assert (first.finished, first.failed, first.rejected) == (0, 1, 3)
        assert "the field 'clothing' is missing" in (tmp_path / "out.jsonl").read_text().splitlines()[-1]
        assert load_descriptions(tmp_path / "out.jsonl") == {}
        skipped, _ = describe(tmp_path, endpoint.url, reasks=2)
        assert (skipped, len(endpoint.seen)) == (first, 3)
        last, _ = describe(tmp_path, endpoint.url, reasks=2, retry_failed=True)
    assert (last.finished, last.failed, last.answers, last.tokens_in) == (1, 0, 4, 4000)


def test_a_wrong_key_stops_the_run_and_is_never_shown(tmp_path: Path) -> None:
    def behave(handler: Handler, asked: Asked) -> None:
        handler.send(401, b'{"error": {"message": "Incorrect API key provided: %s"}}' % KEY.encode())

    with serving(behave) as endpoint, pytest.raises(DescriptionsError) as raised:
        describe(tmp_path, endpoint.url, count=8, concurrency=1)
    assert len(endpoint.seen) == 1
    assert KEY not in raised.value.message + (tmp_path / "out.jsonl").read_text() + repr(Endpoint("u", "m", KEY))


def test_what_was_said_instead_of_an_answer_is_kept(tmp_path: Path) -> None:
    answers = [lambda h: h.send(200, b'{"error": {"message": "upstream is away"}}'), lambda h: h.say("Well, no.")]

    def behave(handler: Handler, asked: Asked) -> None:
        answers[asked.before](handler) if asked.before < 2 else handler.say(GOOD)

    with serving(behave) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines if line["event"] == "error"] == [
        "an answer that is no chat completion: upstream is away"
    ]
    assert [line["said"] for line in lines if line.get("accepted") is False] == ["Well, no."]
    assert (totals.finished, totals.rejected, totals.errors) == (1, 1, 1)


def test_a_key_that_an_error_quotes_is_taken_out(tmp_path: Path) -> None:
    with serving(lambda handler, asked: handler.send(400, f"bad request of {KEY}".encode())) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url)
    written = (tmp_path / "out.jsonl").read_text()
    assert (totals.failed, totals.errors, len(endpoint.seen)) == (1, 1, 1)
    assert "HTTP 400: bad request of (key)" in written
    assert KEY not in written


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with serving(lambda handler, asked: handler.say(GOOD)) as other:

        def behave(handler: Handler, asked: Asked) -> None:
            handler.send(307, b"", location=f"{other.url}/chat/completions")

        with serving(behave) as endpoint, pytest.raises(DescriptionsError, match="HTTP 307"):
            describe(tmp_path, endpoint.url)
    assert other.seen == []


def test_an_endpoint_that_is_away_stops_the_run_and_its_images_stay_open(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nothing else can answer there
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DescriptionsError, match="no answer for 3 images in a row"):
            describe(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}/v1", count=9, repeats=1, concurrency=1)
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url, count=9)
    assert (totals.finished, totals.failed, totals.errors, totals.may_be_billed) == (9, 0, 6, 0)
    assert set(endpoint.counts().values()) == {1}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_budget_is_kept_and_the_rest_is_done_with_a_higher_one(tmp_path: Path, concurrency: int) -> None:
    price = Prices(10.0, 0.0)  # a hundredth a request
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        totals, stopped = describe(
            tmp_path, endpoint.url, count=12, prices=price, budget=0.055, concurrency=concurrency
        )
        assert (totals.finished, totals.requests, totals.unanswered) == (5, 5, 0)
        assert totals.cost <= 0.055
        assert "budget" in stopped
        totals, stopped = describe(tmp_path, endpoint.url, count=12, prices=price, budget=1.0)
    assert (totals.finished, round(totals.cost, 9), stopped) == (12, 0.12, "")
    assert set(endpoint.counts().values()) == {1}


def test_a_budget_cannot_be_kept_without_prices_or_token_counts(tmp_path: Path) -> None:
    with serving(lambda handler, asked: handler.say(GOOD, tokens=None)) as endpoint:
        with pytest.raises(DescriptionsError, match="--price-in"):
            describe(tmp_path, endpoint.url, budget=1.0)
        with pytest.raises(DescriptionsError, match="does not count tokens"):
            describe(tmp_path, endpoint.url, count=4, budget=1.0, prices=Prices(1.0, 1.0), concurrency=1)
        assert len(endpoint.seen) == 1
        totals, _ = describe(tmp_path, endpoint.url, count=4)
    assert (totals.finished, totals.unmetered, totals.unpriced) == (4, 4, 4)


def test_a_limit_of_images_ends_a_run_in_good_order(tmp_path: Path) -> None:
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        totals, stopped = describe(tmp_path, endpoint.url, count=6, images=2)
        assert (totals.finished, stopped) == (2, "4 images beyond the limit are left")
        totals, stopped = describe(tmp_path, endpoint.url, count=6)
    assert (totals.finished, totals.requests, stopped) == (6, 6, "")


def test_requests_keep_to_the_rate(tmp_path: Path) -> None:
    started = time.monotonic()
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        totals, _ = describe(tmp_path, endpoint.url, count=4, per_minute=600.0, concurrency=4)
    assert totals.finished == 4
    assert time.monotonic() - started >= 0.3  # three gaps of a tenth


def test_pictures_leave_small_upright_and_without_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (900, 300), "red").save(folder / "turned.jpg", exif=exif)
    ledger = Ledger(tmp_path / "out.jsonl")
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        tasks = open_tasks(ledger, [("0" * 64, folder / "turned.jpg")], "m", lambda image: [PLAIN])
        describer = Describer(
            Endpoint(endpoint.url, "m"), ledger, Limits(most_side=300), prices=None, local=True, rng=random.Random(0)
        )
        finished(describer.run(tasks))
    ledger.close()
    sent = base64.b64decode(endpoint.seen[0].data.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(sent)) as image:
        assert (image.size, dict(image.getexif())) == ((100, 300), {})
    assert b"taken at home" not in sent
    assert endpoint.seen[0].authorization is None


def test_an_unreadable_picture_fails_alone(tmp_path: Path) -> None:
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        paths = pictures(tmp_path / "images", 2)
        paths[0].write_bytes(b"no picture")
        ledger = Ledger(tmp_path / "out.jsonl")
        tasks = open_tasks(ledger, list(zip(hashes(paths), paths, strict=True)), "m", lambda image: [PLAIN])
        describer = Describer(
            Endpoint(endpoint.url, "m"), ledger, Limits(), prices=None, local=True, rng=random.Random(0)
        )
        finished(describer.run(tasks))
        ledger.close()
    totals = ledger.counts.totals
    assert (totals.finished, totals.failed, totals.requests) == (1, 1, 1)
    assert list(ledger.counts.given_up.values()) == ["unreadable"]


def test_one_picture_at_two_paths_is_asked_about_once_for_each_style(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "images", 1)
    copy = paths[0].with_name("copy.png")
    copy.write_bytes(paths[0].read_bytes())
    ledger = Ledger(tmp_path / "out.jsonl")
    with serving(lambda handler, asked: handler.say(GOOD)) as endpoint:
        found = list(zip(hashes([*paths, copy]), [*paths, copy], strict=True))
        for image, path in found:
            ledger.image(image, path.name)
        tasks = open_tasks(ledger, found, "m", lambda image: [PLAIN, Style("style-1-x", "Be brief.")])
        describer = Describer(
            Endpoint(endpoint.url, "m"), ledger, Limits(), prices=None, local=True, rng=random.Random(0)
        )
        finished(describer.run(tasks))
    ledger.close()
    assert len(endpoint.seen) == 2
    texts = load_descriptions(tmp_path / "out.jsonl")
    assert {path.name: {text.style for text in row} for path, row in texts.items()} == {
        "0.png": {"plain", "style-1-x"},
        "copy.png": {"plain", "style-1-x"},
    }


def test_pictures_leave_the_machine_only_for_a_host_that_was_named() -> None:
    for url in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:80/v1"):
        assert check_consent(url, None)
    with pytest.raises(DescriptionsError, match=r"--yes-send-images-to api\.example\.com"):
        check_consent("https://api.example.com/v1", None)
    with pytest.raises(DescriptionsError, match="--yes-send-images-to"):
        check_consent("https://api.example.com.evil.test/v1", "api.example.com")
    with pytest.raises(DescriptionsError, match="--yes-send-images-to"):
        check_consent("http://localhost.example.com/v1", "localhost")
    assert not check_consent("https://API.example.com/v1", "api.example.com")
    for url in ("https://user:word@api.example.com", "https://api.example.com/v1?key=x", "ftp://x", "", "http://"):
        with pytest.raises(DescriptionsError):
            check_consent(url, "api.example.com")
