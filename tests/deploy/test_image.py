"""The Dockerfile: what it promises, and the server as its CMD, ENV and HEALTHCHECK have it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.settings import Settings
from deploy import rehearse
from deploy.dockerfile import Stage, pairs, read
from tests.programs import program

ROOT = Path(__file__).parent.parent.parent
STAGES = read(ROOT / "Dockerfile")
TARGETS = ("cpu", "cuda")


def environment_of(stage: Stage) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in stage.instructions:
        if one.word == "ENV":
            found |= pairs(one.rest, {})
    return found


def test_the_reader_joins_lines_and_expands_bases(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(
        'ARG BASE=debian:12.1\n# no\nFROM ${BASE} AS one\nRUN a \\\n    # within\n    && b\nCMD ["x", "y z"]\n'
    )
    stage = read(file)["one"]
    assert stage.base == "debian:12.1"
    assert [(one.word, one.rest) for one in stage.instructions] == [("RUN", "a && b"), ("CMD", '["x", "y z"]')]
    assert stage.last("CMD").words == ["x", "y z"]
    with pytest.raises(LookupError, match="USER"):
        stage.last("USER")


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_bases_are_pinned_by_a_full_tag(stage: Stage) -> None:
    assert re.fullmatch(r"[a-z0-9./-]+:\d+\.\d+\.\d+[a-z0-9.-]*", stage.base)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_serves_as_a_user_without_rights_and_says_whether_it_is_healthy(name: str) -> None:
    stage = STAGES[name]
    user, _, group = stage.last("USER").rest.partition(":")
    assert int(user) > 999
    assert int(group) > 999
    assert stage.last("HEALTHCHECK").rest.endswith('CMD ["python", "-m", "app.probe"]')
    assert "--start-period=" in stage.last("HEALTHCHECK").rest
    assert stage.last("ENTRYPOINT").words == ["tini", "--", "descry"]
    words = [one.word for one in stage.instructions]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word == "RUN")


@pytest.mark.parametrize("name", TARGETS)
def test_its_variables_are_settings_and_no_secrets(name: str) -> None:
    found = environment_of(STAGES[name])
    own = {key.removeprefix("DESCRY_").lower(): value for key, value in found.items() if key.startswith("DESCRY_")}
    settings = Settings.model_validate(own)
    assert settings.host == "0.0.0.0"
    assert not settings.may_be_open
    assert not settings.supervise
    assert str(settings.port) == STAGES[name].last("EXPOSE").rest
    assert str(settings.data_dir) == STAGES[name].last("VOLUME").rest
    assert [key for key in found if re.search("TOKEN|SECRET|PASSWORD|URL", key)] == []


def test_the_extras_exist_and_the_two_kinds_of_faiss_never_meet() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, own, other in (("cpu-build", "cpu", "gpu"), ("cuda-build", "gpu", "cpu")):
        asked = set(re.findall(r"--extra ([\w-]+)", "\n".join(one.rest for one in STAGES[name].instructions)))
        assert own in asked
        assert other not in asked
        assert asked <= set(extras)


def test_what_is_copied_is_in_the_context_and_nothing_else_is() -> None:
    context = rehearse.tracked()
    for name in ("cpu-build", "cuda-build"):
        for one in STAGES[name].instructions:
            if one.word == "COPY":
                for source in one.words[:-1]:
                    assert [path for path in context if path == source or path.startswith(f"{source}/")], source
    assert [path for path in context if path.startswith(("tests/", "deploy/", ".")) or path.endswith(".env")] == []
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_the_server_runs_as_the_image_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "descry").write_text(f'#!/bin/sh\nexec {sys.executable} -m app.cli "$@"\n')
    (programs / "descry").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    data = tmp_path / "data"
    data.mkdir()
    # The environment of the tests, so that no user is changed: theirs need not be able to read this Python.
    monkeypatch.setattr(rehearse, "_as_user", lambda stage: (None, None))
    own = {**environment_of(STAGES["cpu"]), "DESCRY_DATA_DIR": str(data), "HOME": str(data)}
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    rehearse.run(STAGES["cpu"], {**own, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, data)
    assert (data / "descry.sqlite3").is_file()


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([program("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
