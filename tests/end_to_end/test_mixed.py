"""The checks of `python -m benchmarks.mixed`, which takes minutes, see what they are there for."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.acknowledged import Ledger, number_of
from benchmarks.aftermath import unlike
from benchmarks.fleet import Attempt, Fleet
from benchmarks.gallery import open_with_model
from benchmarks.lives import Sample, told
from benchmarks.mixed import Mixed
from benchmarks.mixed_report import MixedReport, Strike, hung, record
from benchmarks.plots import plot_mixed
from benchmarks.replicas import Plan
from tests.app.toy import picture


def a_ledger(present: dict[int, int]) -> Ledger:
    tables = {1: {"red": np.zeros(3, np.float32)}, 2: {"red": np.ones(3, np.float32)}}
    return Ledger(tables, people=3, each=1, version=1, present=present, sent=set(present.values()))


def test_a_look_at_an_image_is_judged_by_what_was_answered_before(tmp_path: Path) -> None:
    data = picture(tmp_path / "0.jpg", "red").read_bytes()
    ledger = a_ledger({10: 0, 11: 1})
    ledger.doom([11])

    def judged(image: int, status: int, content: bytes = data, *, gone: bool = False) -> tuple[list[str], list[str]]:
        mixed = Mixed(Fleet(tmp_path, ""), ledger, [], Plan())
        mixed.judge_look(image, "/file", status, content, gone=gone)
        assert mixed.report.looks == 1
        return mixed.report.wrong, mixed.report.missing

    assert judged(10, 200) == judged(11, 404) == judged(11, 200) == judged(12, 404, gone=True) == ([], [])
    assert judged(10, 404) == ([], ["GET /v1/images/10/file: 404"])
    assert judged(12, 200, gone=True)[0] == ["GET /v1/images/12/file: 200, and it was deleted before"]
    with pytest.raises(OSError, match=r"truncated|identify"):
        judged(10, 200, data[:-20])


def test_a_next_page_and_a_verdict_are_judged(tmp_path: Path) -> None:
    def page(query: str, *people: int) -> dict[str, Any]:
        return {"query_id": query, "candidates": [{"identity": {"id": person}} for person in people]}

    def judged(second: dict[str, Any] | None, status: int = 201, code: str = "", *, killed: bool = False) -> list[str]:
        mixed = Mixed(Fleet(tmp_path, "", processes=3), a_ledger({}), [], Plan())
        mixed.report.strikes += [Strike(0.0, "replica 0", "server")] * killed
        answer = None if second is None else httpx.Response(200, json=second)
        mixed.judge_walk(page("a", 1, 2), answer, httpx.Response(status, json={"code": code}))
        assert mixed.report.walks == 1
        return mixed.report.wrong

    assert judged(page("a", 3)) == judged(None) == judged(None, 404, "identity_not_found") == []
    assert judged(page("a", 2, 3)) == ["the next page of a shows [2] again"]
    assert judged(page("b", 3)) == ["the next page of a shows [] again"]
    assert judged(None, 404, "query_not_found") == ["a verdict: 404 query_not_found of query a"]
    assert judged(None, 404, "query_not_found", killed=True) == []


def test_what_is_left_is_compared_with_what_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        picture(folder / f"{number:05}.jpg", "red", shade=number)
    settings = Settings(data_dir=tmp_path / "data", device="cpu")
    open_with_model(settings.data_dir).close()
    with opened(settings) as core:
        images = {one.image_id: number_of(one.name) for one in core.ingest().run(open_source(folder))}
        present = {image: number for image, number in images.items() if image is not None}
        assert unlike(core, a_ledger(present)) == []
        first, *rest = sorted(present)
        lost = unlike(core, a_ledger({image: present[image] for image in rest}))
        assert lost == [f"images in the database and not reported, or the other way round: [{first}]"]
        stored = next(settings.images_dir.glob("??/??/*.jpg"))
        stray = stored.with_name(f"{'0' * 32}.jpg")
        stray.write_bytes(stored.read_bytes())
        assert unlike(core, a_ledger(present))[0].startswith("pictures without a row")


def test_memory_is_told_of_each_life() -> None:
    short = [Sample(float(second), 100.0, 1) for second in range(30)]
    long = [Sample(40.0 + second, 200 + second / 60, 2) for second in range(120)]
    found = told([*short, *long])
    assert [life["peak_mib"] for life in found["lives"]] == [100, pytest.approx(202, abs=0.1)]
    assert found["slope"] == pytest.approx(60)  # MiB an hour: one in a minute
    assert "slope" not in told(short)
    beside = [Sample(float(second), 100.0 * pid, pid) for second in range(90) for pid in (1, 2)]
    assert [life["peak_mib"] for life in told(beside)["lives"]] == [100, 200]
    assert told([])["lives"] == []


def test_the_record_counts_what_came_of_each_attempt(tmp_path: Path) -> None:
    asked = "POST /v1/search/text"
    outcomes = ("200", "200", "503 restarting", "429 too_many_searches", "ConnectError", "ReadTimeout")
    attempts = [Attempt(100.0 + at, asked, outcome, 5.0 * (at + 1)) for at, outcome in enumerate(outcomes)]
    samples = {"replica 0": [Sample(float(second), 100.0, 1) for second in range(20)], "worker 0": []}
    report = MixedReport(attempts=attempts, samples=samples, began=100.0, strikes=[Strike(3.0, "worker 0", "worker")])
    assert hung(attempts) == [f"no answer and no end of the connection: {asked}: ReadTimeout, 1 times"]
    found = record(report, Plan(seconds=20))
    assert found["outcomes"] == {"200": 2, **dict.fromkeys(outcomes[2:], 1)}
    assert found["latency_ms"] == {asked: {"count": 2, "p50": 10.0, "p95": 10.0, "p99": 10.0, "slowest": 10.0}}
    first, second = found["series"]
    assert (first["answered"], first["refused"], first["broken"]) == (2, 2, 2)
    assert second["search_ms"] == {"count": 0}
    plot_mixed(found, tmp_path / "mixed.png")
    assert (tmp_path / "mixed.png").read_bytes().startswith(b"\x89PNG")
