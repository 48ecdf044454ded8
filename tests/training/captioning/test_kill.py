"""1,000 images, kill -9 in the middle: what was finished is never asked about again, and the sums are right."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.captioning.endpoint import GOOD, Asked, Endpoint, Handler, serving
from tests.waiting import PROCESS_S
from training.captioning import load_descriptions

IMAGES, KILL_AT, CONCURRENCY = 1000, 400, 16
KEY = "sk-kept-out-of-everything"


@pytest.fixture
def thousand(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    (root / "imgs").mkdir(parents=True)
    noise, entries = np.random.default_rng(0), []
    for number in range(IMAGES):
        pixels = noise.integers(0, 256, (20, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "imgs" / f"{number}.png", compress_level=1)
        entries.append(
            {"split": "train", "id": number + 1, "file_path": f"{number}.png", "captions": ["A man in red."]}
        )
    (root / "reid_raw.json").write_text(json.dumps(entries))
    return root


def start(root: Path, out: Path, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training", "describe", "ask", "--data", str(root), "--out", str(out)]
    command += ["--url", url, "--model", "m", "--concurrency", str(CONCURRENCY), "--price-in", "2", "--price-out", "8"]
    environment = {**os.environ, "DESCRY_DESCRIBE_KEY": KEY}
    return subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def tokens(picture: str) -> tuple[int, int]:
    """Other for each picture, so that the sums show which answers were counted."""
    return 500 + int(picture[:3], 16), 20 + int(picture[3:5], 16)


class Gate:
    """Answers KILL_AT requests, then holds all until it is opened: at the kill, who is under way is known."""

    def __init__(self) -> None:
        self.full, self.open, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.passed = 0
        self.held: list[str] = []

    def behave(self, handler: Handler, asked: Asked) -> None:
        with self.lock:
            hold = not self.open.is_set() and self.passed >= KILL_AT
            self.passed += not hold
            if hold:
                self.held.append(asked.picture)
                if len(self.held) == CONCURRENCY:
                    self.full.set()
        if hold:
            self.open.wait()
            handler.close_connection = True
        else:
            handler.say(GOOD, tokens=tokens(asked.picture))


def killed(thousand: Path, out: Path, gate: Gate, endpoint: Endpoint) -> None:
    """A run that is killed when KILL_AT images are finished and CONCURRENCY requests under way; a half line is left."""
    first = start(thousand, out, endpoint.url)
    assert gate.full.wait(PROCESS_S), first.communicate(timeout=5)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    gate.open.set()
    with out.open("a") as file:
        file.write('{"event": "answer", "id": 17, "image": "ab')


def test_a_killed_run_goes_on_without_a_repeat(thousand: Path, tmp_path: Path) -> None:
    gate, out = Gate(), tmp_path / "descriptions.jsonl"
    with serving(gate.behave) as endpoint:
        killed(thousand, out, gate, endpoint)
        second = start(thousand, out, endpoint.url)
        said, complained = second.communicate(timeout=PROCESS_S)
        asked, answered = endpoint.counts(), [one.picture for one in endpoint.answered]
    assert second.returncode == 0, complained
    result = json.loads(said)
    # What was finished before the kill, and what came after it, was asked about once; only what was under way, twice.
    assert len(asked) == IMAGES
    assert {picture for picture, times in asked.items() if times == 1} == set(asked) - set(gate.held)
    assert {picture: asked[picture] for picture in gate.held} == dict.fromkeys(gate.held, 2)
    assert sorted(answered) == sorted(asked)
    # The file's sums are those of the answers that came, and it says how many requests were lost.
    sums = [sum(counted) for counted in zip(*map(tokens, answered), strict=True)]
    assert [result["tokens_in"], result["tokens_out"]] == sums
    assert result["cost"] == pytest.approx((sums[0] * 2 + sums[1] * 8) / 1e6, abs=1e-6)
    counts = ("finished", "failed", "requests", "answers", "errors", "unanswered", "lost_before")
    assert [result[name] for name in counts] == [IMAGES, 0, IMAGES + CONCURRENCY, IMAGES, 0, CONCURRENCY, CONCURRENCY]
    assert f"{CONCURRENCY} requests were under way" in complained
    assert len(load_descriptions(out, thousand)) == IMAGES
    assert KEY not in said + complained + out.read_text()
    assert {one.authorization for one in endpoint.seen} == {f"Bearer {KEY}"}
