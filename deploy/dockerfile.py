"""A Dockerfile as instructions: as much of the format as ours uses."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word, and what follows, with the lines joined."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """What follows, as words: of a JSON list, or as a shell takes it apart."""
        if self.rest.startswith("["):
            return [str(word) for word in json.loads(self.rest)]
        return shlex.split(self.rest)


@dataclass(slots=True)
class Stage:
    """A stage with the instructions after its FROM."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, word: str) -> Instruction:
        """The instruction that counts where only the last one does, such as CMD.

        Raises:
            LookupError: there is none.
        """
        for instruction in reversed(self.instructions):
            if instruction.word == word:
                return instruction
        raise LookupError(f"the stage {self.name} has no {word}")


def read(path: Path) -> dict[str, Stage]:
    """The stages of a file by their names. `ARG`s before the first one are put into the names of bases."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    present: Stage | None = None
    for instruction in _instructions(path.read_text()):
        if instruction.word == "FROM":
            base, _, name = instruction.rest.partition(" AS ")
            present = stages[name] = Stage(name, expand(base, arguments))
        elif present is not None:
            present.instructions.append(instruction)
        else:
            name, _, value = instruction.rest.partition("=")
            arguments[name] = value.strip('"')
    return stages


def expand(text: str, variables: dict[str, str]) -> str:
    """A text with `$NAME` and `${NAME}` replaced; what is not known becomes nothing."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def pairs(rest: str, variables: dict[str, str]) -> dict[str, str]:
    """What an ENV or ARG sets."""
    found = (word.partition("=") for word in shlex.split(rest))
    return {name: expand(value, variables) for name, _, value in found}


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]
