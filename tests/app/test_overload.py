"""Overload: what cannot be answered in time is refused with a code, and service resumes."""

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from app.commands.serving import listen
from app.core import Core
from app.main import create_app
from app.settings import Settings
from models.tokenizers import TokenizedTexts
from tests.app.toy import ToyEncoder
from tests.waiting import until


def test_a_stuck_encoder_refuses_then_times_out_then_recovers(
    core: Core, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, entered = threading.Event(), threading.Event()
    whole = ToyEncoder.tokenize

    def tokenize(self: ToyEncoder, texts: Sequence[str]) -> TokenizedTexts:
        entered.set()
        assert gate.wait(60)
        return whole(self, texts)

    narrow = settings.model_copy(update={"query_queue": 1, "query_timeout_s": 4.0})
    with (
        TestClient(create_app(narrow), base_url="http://127.0.0.1") as client,
        ThreadPoolExecutor(8) as pool,
    ):
        monkeypatch.setattr(ToyEncoder, "tokenize", tokenize)  # not before: the first passes are run at the start
        first = pool.submit(client.post, "/v1/search/text", json={"query": "red"})
        assert entered.wait(60)
        rest = [pool.submit(client.post, "/v1/search/text", json={"query": "red"}) for _ in range(5)]
        answers = [job.result() for job in (first, *rest)]
        codes = sorted(answer.json()["code"] for answer in answers)
        assert codes == ["encoder_busy"] * 4 + ["encoder_timeout"] * 2
        assert {answer.status_code for answer in answers} == {429, 503}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        gate.set()
        # What was given up holds its place in the queue until the encoder comes by.
        until(lambda: client.post("/v1/search/text", json={"query": "red"}).status_code == 200, "the encoder is free")


def test_more_searches_than_may_be_answered_are_refused_at_once(
    core: Core, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, entered = threading.Event(), threading.Event()
    gate.set()  # the version warms up before it answers
    whole = ToyEncoder.tokenize

    def tokenize(self: ToyEncoder, texts: Sequence[str]) -> TokenizedTexts:
        entered.set()
        assert gate.wait(60)
        return whole(self, texts)

    monkeypatch.setattr(ToyEncoder, "tokenize", tokenize)
    one = settings.model_copy(update={"max_searches": 1})
    with TestClient(create_app(one), base_url="http://127.0.0.1") as client, ThreadPoolExecutor(1) as pool:
        gate.clear()
        entered.clear()
        first = pool.submit(client.post, "/v1/search/text", json={"query": "red"})
        assert entered.wait(60)
        refused = client.post("/v1/search/text", json={"query": "red"})
        assert (refused.status_code, refused.json()["code"]) == (429, "server_busy")
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-request-id"]
        assert client.get("/healthz").status_code == 200
        gate.set()
        assert first.result().status_code == 200
        assert client.post("/v1/search/text", json={"query": "red"}).status_code == 200
        # A search that fails gives its place back too.
        assert client.post("/v1/search/text", json={"query": ""}).status_code == 422
        assert client.post("/v1/search/text", content=b"{").status_code == 422
        assert client.post("/v1/search/text", json={"query": "red"}).status_code == 200


def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements(settings: Settings) -> None:
    with listen(settings.model_copy(update={"port": 0})) as listener:
        # asyncio switches Nagle's algorithm off only for sockets that name the protocol.
        assert listener.proto == socket.IPPROTO_TCP
