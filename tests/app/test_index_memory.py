"""What an index will need against what it takes, and what does not fit is refused before it is begun."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.commands.models import register_checkpoint
from app.core import Core
from app.errors import MemoryShortError
from app.vectors import engines, faiss_engine, memory, repository, segments
from app.vectors.memory import MARGIN, admit, available, estimate
from app.vectors.tier import Tier
from tests.app.conftest import IngestFolder
from tests.app.test_indexing_jobs import taken
from tests.app.test_search_api import ask, people
from tests.app.toy import toy_checkpoint

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is counted as Linux does")
MEASURE = """
import ctypes
import json, sys
import numpy as np
from benchmarks.clustered import centres, near
from app.vectors.contract import Changes
from app.vectors.faiss_engine import FaissIndex
from app.vectors.tier import Tier
from benchmarks.memory import forget_peak, peak, resident
count, dim, limit = map(int, sys.argv[1:])
around = centres(2000, dim)
pieces = range(0, count, 10_000)
vectors = np.concatenate([near(around, min(10_000, count - start), start) for start in pieces])
def log(end):
    for start in range(0, end, 10_000):
        ids = np.arange(start, min(start + 10_000, end))
        yield Changes(len(ids) + start, ids, vectors[ids], np.empty(0, np.int64))
def built(end):
    index = FaissIndex(dim, tier=Tier(limit or None, 2))
    index.load(log(end))
    index.compact()
    assert (index.coarse is not None) == bool(limit)
    return index
# What BLAS and the threads take once, whatever the size, is not the index's; nor is what was freed and not given back.
built(20_000)
ctypes.CDLL(None).malloc_trim(0)
before = resident()
forget_peak()
index = built(count)
highest = peak()
ctypes.CDLL(None).malloc_trim(0)
print(json.dumps([resident() - before, highest - before]))
"""


@needs_proc
@pytest.mark.parametrize(("count", "dim", "limit"), [(200_000, 256, 0), (200_000, 256, 1000)])
def test_the_estimate_is_what_it_takes(count: int, dim: int, limit: int) -> None:
    words = [sys.executable, "-c", MEASURE, str(count), str(dim), str(limit)]
    rest, peak = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    need = estimate(count, [dim], Tier(limit or None, 2))
    assert need.at_rest == pytest.approx(rest, rel=0.15)
    assert need.peak == pytest.approx(peak, rel=0.15)


def test_its_constants_are_those_of_the_engine() -> None:
    assert (memory._ROWS, memory._DELTA) == (segments.ROWS, faiss_engine._DELTA)
    assert memory._PAGE == repository.PAGE


def test_spaces_and_versions_add_up() -> None:
    one, two = estimate(10_000, [64], Tier()), estimate(10_000, [64, 64], Tier(), versions=2)
    assert two.at_rest == 4 * one.at_rest
    assert two.disk == 4 * one.disk
    assert two.peak - two.at_rest == one.peak - one.at_rest
    assert estimate(0, [], Tier()).peak == 0


def test_what_does_not_fit_is_refused_with_its_size() -> None:
    need = estimate(1_000_000, [512], Tier(None))
    admit(need, None)  # where nobody can tell
    admit(need, need.peak + MARGIN)
    with pytest.raises(MemoryShortError, match=r"1\.\d\d GiB while it is built .* DESCRY_MEMORY_CHECK=false"):
        admit(need, need.peak + MARGIN - 1)


def test_limits_of_control_groups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo, own = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", own)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "fs")
    assert available() == 8000 * 1024
    own.write_text("0::/a/b\n")
    below = tmp_path / "fs" / "a" / "b"
    below.mkdir(parents=True)
    for folder, limit in ((below, "max"), (below.parent, str(5 * 2**20))):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{4 * 2**20}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 1048576\n")
    assert available() == 2 * 2**20
    own.write_text("4:memory:/old\n")
    old = tmp_path / "fs" / "memory" / "old"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("3000000\n")
    (old / "memory.usage_in_bytes").write_text("2000000\n")
    (old / "memory.stat").write_text("cache 1\ntotal_inactive_file 500\n")
    assert available() == 1_000_500
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert available() is None


@pytest.fixture
def other(core: Core, ingest: IngestFolder, tmp_path: Path) -> int:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two").id


def test_nothing_is_begun_that_does_not_fit(
    client: TestClient, core: Core, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = client.post(f"/v1/models/{other}/activate").json()["id"]
    monkeypatch.setattr(engines, "available", lambda: MARGIN)
    _, work = taken(core)
    with pytest.raises(MemoryShortError):
        work.prepare()
    assert core.activation.missing(other) == 24
    assert queued
    with pytest.raises(MemoryShortError):
        core.active.load(other)
    refused = CliRunner().invoke(app, ["models", "activate", str(other), "--data-dir", str(core.settings.data_dir)])
    assert isinstance(refused.exception, MemoryShortError)
    refused = CliRunner().invoke(app, ["index", "rebuild", "--data-dir", str(core.settings.data_dir)])
    assert isinstance(refused.exception, MemoryShortError)
    assert ask(client, "red")["model_version"]["name"] == "toy"  # what answers goes on


def test_the_check_can_be_left_out(core: Core, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available", lambda: 0)
    monkeypatch.setenv("DESCRY_MEMORY_CHECK", "false")
    done = CliRunner().invoke(app, ["index", "rebuild", "--data-dir", str(core.settings.data_dir), "--json"])
    assert json.loads(done.stdout)[0]["vectors"] == 24


def test_a_start_loads_what_answers_whatever_is_left(core: Core, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available", lambda: 0)
    from app.registry.active import ActiveModel

    again = ActiveModel(core.database, core.settings)
    again.follow()
    assert again.current().name == "toy"
    again.close(save=False)


def test_the_verb_says_what_an_index_needs(core: Core, other: int) -> None:
    words = ["index", "estimate", "--data-dir", str(core.settings.data_dir)]
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (found["images"], found["dims"], found["versions"], found["fits"]) == (24, [24], 2, True)
    large = json.loads(
        CliRunner().invoke(app, [*words, "--images", "1000000000", "--dim", "512", "--spaces", "2", "--json"]).stdout
    )
    assert large["peak_bytes"] > large["at_rest_bytes"] > 2 * 2 * 10**9 * 1024
    assert large["fits"] is False
    text = CliRunner().invoke(app, [*words, "--images", "1000000", "--dim", "512", "--versions", "1"]).stdout
    assert "1,000,000 images x 512 dimensions" in text
