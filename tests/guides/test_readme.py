"""What the README and the guides tell people to type exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import app
from app.errors import ServiceError
from tests.waiting import PROCESS_S

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = "\n".join(
    block for guide in GUIDES for block in re.findall(r"```sh\n(.*?)```", guide.read_text(), flags=re.DOTALL)
)
# In a container, in Compose, and within $( ): the same verbs.
PREFIX = re.compile(r"^(?:docker exec descry |docker compose .*exec api |export \w+=\$\()(?=descry )", re.MULTILINE)
GROUPS = "|".join([*(group.name for group in app.registered_groups if group.name), "datasets"])
CALL = re.compile(rf"^descry ((?:{GROUPS}) \w+|[a-z-]+)([^#\n]*)", re.MULTILINE)
VERBS = sorted({(verb, rest.strip()) for verb, rest in CALL.findall(PREFIX.sub("", BLOCKS))})
OWN = re.compile(r"(?<!\S)(--[a-z-]+)")


def test_the_readme_shows_commands() -> None:
    assert len(VERBS) > 6


@pytest.mark.parametrize(("verb", "rest"), VERBS)
def test_verbs_and_options_exist(verb: str, rest: str) -> None:
    words = verb.split()
    forwarded = words[0] in {"train", "evaluate", "report", "synthesise", "datasets", "calibrate"}
    command = [sys.executable, "-m", "training" if forwarded else "app.cli", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=PROCESS_S)
    assert done.returncode == 0, done.stderr
    missing = [option for option in OWN.findall(rest) if option not in done.stdout]
    assert missing == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake (?:[A-Z]+=\S+ )*([a-z]+)", README))
    assert {"demo", "test", "check", "bench"} <= targets
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_links_and_pictures_exist(guide: Path) -> None:
    places = re.findall(r"\]\(([^)#\s]+)\)", guide.read_text())
    assert [place for place in places if "://" not in place and not (guide.parent / place).exists()] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_codes_have_the_status_that_a_guide_says(guide: Path) -> None:
    known = {error.code: error.status for error in _below(ServiceError)}
    readiness = (ROOT / "app" / "readiness.py").read_text()  # its reasons are no errors
    told = re.findall(r"\b([45]\d\d),? `([a-z_]+)`", guide.read_text())
    wrong = [(status, code) for status, code in told if known.get(code) != int(status) and code not in readiness]
    assert wrong == []


def _below(error: type[ServiceError]) -> list[type[ServiceError]]:
    return [error, *(one for kind in error.__subclasses__() for one in _below(kind))]


def headings(guide: Path) -> set[str]:
    """What a link into a guide may end with, as GitHub makes it of headings."""
    found = re.findall(r"^#+ (.+)$", guide.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_links_into_guides_find_their_heading(guide: Path) -> None:
    links = re.findall(r"\]\(((?:[\w./-]+\.md)?)#([\w-]+)\)", guide.read_text())
    lost = [link for link in links if link[1] not in headings(guide.parent / link[0] if link[0] else guide)]
    assert lost == []
