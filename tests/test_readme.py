"""What the README tells people to type exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL))
VERBS = sorted(
    set(
        re.findall(
            r"^descry (models \w+|index \w+|identities \w+|datasets \w+|queries \w+|feedback \w+|[a-z-]+)([^#\n]*)",
            BLOCKS,
            flags=re.MULTILINE,
        )
    )
)
OWN = re.compile(r"(?<!\S)(--[a-z-]+)")


def test_the_readme_shows_commands() -> None:
    assert len(VERBS) > 6


@pytest.mark.parametrize(("verb", "rest"), VERBS)
def test_verbs_and_options_exist(verb: str, rest: str) -> None:
    words = verb.split()
    forwarded = words[0] in {"train", "evaluate", "report", "synthesise", "datasets", "calibrate"}
    command = [sys.executable, "-m", "training" if forwarded else "app.cli", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    missing = [option for option in OWN.findall(rest) if option not in done.stdout]
    assert missing == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake (?:[A-Z]+=\S+ )*([a-z]+)", README))
    assert {"demo", "test", "check", "bench"} <= targets
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_links_and_pictures_exist() -> None:
    places = re.findall(r"\]\(([^)#]+)\)", README)
    assert places
    assert [place for place in places if "://" not in place and not (ROOT / place).exists()] == []
