"""The commands of the README and the guides: read out of them, and where each is run.

A command is run as it stands, unless this says otherwise: by a shorter form (SHORTER), by another test (ELSEWHERE), or,
with a reason, not at all (NOT_HERE). One that is in none of the walks fails a test.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.guides.places import ELSEWHERE, NOT_HERE, SHORTER
from tests.waiting import PROCESS_S

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
_FIRST = [README, *(ROOT / "docs" / f"{name}.md" for name in ("gallery", "searching", "training", "operations"))]
GUIDES = (*_FIRST, *sorted(set((ROOT / "docs").glob("*.md")) - set(_FIRST)))
"""In the order in which somebody reads them: keys, which searches then need, are made in the last of the first ones."""
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s{1,})#.*$")
_EXPORT = re.compile(r"(\w+)=(\S+)")


def commands(guide: Path) -> list[str]:
    """Every command of a guide in its order, as one line each, without comments."""
    found: list[str] = []
    for block in _BLOCK.findall(guide.read_text()):
        joined = block.replace("\\\n", " ")
        open_quote = ""
        for line in joined.split("\n"):
            whole = f"{open_quote}\n{line}" if open_quote else _COMMENT.sub("", line)
            open_quote = whole if whole.count("'") % 2 else ""
            if not open_quote and whole.strip():
                found.append(" ".join(whole.split()))
    return found


TRAINING = re.compile(
    r"descry (synthesise|train|evaluate|calibrate|report|datasets)\b|python -m training|torchrun|export DESCRY_DESCRIBE"
)
ALL = [command for guide in GUIDES for command in commands(guide) if guide.name != "api.md"]
"""Without those of docs/api.md, which test_api.py runs as one script."""


def walked(*, training: bool) -> list[str]:
    """What the walk of searching, or of training, runs."""
    excused = re.compile("|".join((*ELSEWHERE, *NOT_HERE)))
    chosen = [one for one in ALL if bool(TRAINING.match(one)) == training and not excused.fullmatch(one)]
    return [one for command in chosen for one in SHORTER.get(command, (command,))]


@dataclass
class Walk:
    """A shell that keeps nothing but its environment and its folder."""

    folder: Path
    environment: dict[str, str]
    said: dict[str, str]

    def run(self, command: str) -> str:
        """Run a command of a guide and return what it printed.

        Raises:
            AssertionError: it did not succeed.
        """
        if command.startswith("export "):
            self.environment |= {name: value.strip("'\"") for name, value in _EXPORT.findall(command)}
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROCESS_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        self.said[command] = done.stdout
        return done.stdout
