"""`python -m deploy.rehearse`: what `docker build` and `docker run` of a target would do, by hand and without Docker.

A clean folder stands for the image: `/opt`, `/build` and `/data` of the Dockerfile are folders in it. Instructions run
in their order and as they are written, but for these paths and the options that only BuildKit knows:

* COPY takes from the working tree what `git` tracks and `.dockerignore` lets through, or from the other stage's folder;
* `apt-get install` is only simulated, which shows that the packages exist here; users are not made. Run as root, the
  server is given to the number of USER all the same, so that it can write where the image's user can, and nowhere else;
* the base image is this machine with the Python that runs this, or `--python`.

Then the server starts as ENTRYPOINT and CMD say with the environment of ENV, the first key is made, a model is made
active, HEALTHCHECK must succeed, and SIGTERM must end it. `--torch-backend ''` where PyTorch's own index is out of
reach.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from deploy.dockerfile import Stage, pairs, read

ROOT = Path(__file__).resolve().parent.parent
_OURS = re.compile(r"(?<![\w./-])/(opt|build|data)(?=[/\s:'\"]|$)")
_KEPT = ("PIP_", "UV_", "SSL_", "REQUESTS_", "http", "HTTP", "https", "no_proxy", "NO_PROXY", "LANG", "USER")


class Rehearsal:
    """The stages of one target in a folder."""

    def __init__(self, folder: Path, python: Path, arguments: dict[str, str]) -> None:
        self._folder, self._python, self._arguments = folder, python, arguments
        self._stages = read(ROOT / "Dockerfile")

    def build(self, name: str) -> dict[str, str]:
        """Run a stage, and before it those that it copies from; returns its environment."""
        stage = self._stages[name]
        for source in re.findall(r"--from=(\S+)", "\n".join(one.rest for one in stage.instructions)):
            self.build(source)
        say(f"FROM {stage.base} AS {name}")
        environment = {key: value for key, value in os.environ.items() if key.startswith(_KEPT)}
        environment |= {"PATH": f"{self._python}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(self._folder)}
        environment.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))  # what the cache mount is for
        arguments: dict[str, str] = {}
        place = self._folder
        for one in stage.instructions:
            known = {**arguments, **environment}
            match one.word:
                case "ARG":
                    given = pairs(one.rest, known)
                    arguments |= {key: self._arguments.get(key, value) for key, value in given.items()}
                case "ENV":
                    say(f"ENV {one.rest}")
                    environment |= {key: self.here(value) for key, value in pairs(one.rest, known).items()}
                case "WORKDIR":
                    place = Path(self.here(one.rest))
                    place.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(one.words, place)
                case "RUN":
                    self._run(one.rest, place, known)
        return environment

    def here(self, text: str) -> str:
        """A text with the paths of the image as paths of the folder."""
        return _OURS.sub(lambda found: str(self._folder / found[1]), text)

    def stage(self, name: str) -> Stage:
        return self._stages[name]

    def _run(self, command: str, place: Path, environment: dict[str, str]) -> None:
        command = re.sub(r"--mount=\S+\s+", "", command)
        if "apt-get" in command:
            command = "apt-get install --simulate -qq " + " ".join(re.findall(r"recommends ([a-z0-9 .-]+)", command))
        elif "useradd" in command:
            command = f"install -d -m 0750 {self.here('/data')}"
        else:
            command = self.here(command)
        say(f"RUN {command}")
        began = time.monotonic()
        environment = {key: value for key, value in environment.items() if value or not key.startswith("UV_")}
        subprocess.run(["sh", "-ec", command], cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
        say(f"    {time.monotonic() - began:.1f} s")

    def _copy(self, words: list[str], place: Path) -> None:
        say(f"COPY {' '.join(words)}")
        if words[0].startswith("--from="):
            found = Path(self.here(words[1]))
            if not found.is_dir() or words[1] != words[2]:
                raise SystemExit(f"COPY {' '.join(words)}: the rehearsal knows copies to the same place only")
            return
        *sources, target = words
        for name in tracked():
            for source in sources:
                if name == source or name.startswith(f"{source}/"):
                    # A file goes into a folder under its own name, a folder's contents into what is named.
                    inside = name.removeprefix(f"{source}/") if name != source else Path(name).name
                    to = (place / target / inside).resolve()
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / name, to)


def tracked() -> list[str]:
    """The build's context: files that git tracks or would, as far as `.dockerignore` lets them through."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = tuple(line.removeprefix("!") for line in lines if line.startswith("!"))
    return [name for name in names if name.split("/")[0] in allowed and (ROOT / name).is_file()]


def start(stage: Stage, environment: dict[str, str], place: Path) -> "subprocess.Popen[bytes]":
    """The server, as ENTRYPOINT and CMD say; as USER, if this is root."""
    entry = stage.last("ENTRYPOINT").words
    if entry[0] == "tini" and shutil.which("tini", path=environment["PATH"]) is None:
        say("tini is not installed here: the server is started without it")
        entry = entry[entry.index("--") + 1 :]
    command = [*entry, *stage.last("CMD").words]
    say(f"{' '.join(command)}   (as {stage.last('USER').rest if os.geteuid() == 0 else 'this user'})")
    user, group = _as_user(stage)
    return subprocess.Popen(command, cwd=place, env=environment, user=user, group=group)


def _as_user(stage: Stage) -> tuple[int | None, int | None]:
    if os.geteuid() != 0:
        return None, None
    user, group = map(int, stage.last("USER").rest.split(":"))
    return user, group


def healthy(stage: Stage, environment: dict[str, str], seconds: float, server: "subprocess.Popen[bytes]") -> None:
    """Ask as HEALTHCHECK does until it succeeds."""
    command = stage.last("HEALTHCHECK").rest.partition("CMD ")[2]
    words = [str(word) for word in json.loads(command)]
    ends = time.monotonic() + seconds
    while True:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode == 0:
            say(f"HEALTHCHECK {command}: healthy")
            return
        if server.poll() is not None or time.monotonic() > ends:
            raise SystemExit(f"HEALTHCHECK {command} fails: {done.stderr.strip()}")
        time.sleep(0.5)


def asked(port: str) -> int:
    """The status of a search without a key."""
    body = urllib.request.Request(f"http://127.0.0.1:{port}/v1/gallery")
    try:
        with urllib.request.urlopen(body, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def run(stage: Stage, environment: dict[str, str], place: Path) -> None:
    """Start, first key, model, health, end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {**environment, "DESCRY_PORT": port}
    user, group = _as_user(stage)

    def descry(*words: str) -> str:
        say(f"docker exec CONTAINER descry {' '.join(words)}")
        done = subprocess.run(
            ["descry", *words],
            env=environment,
            cwd=place,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            user=user,
            group=group,
        )
        return done.stdout.strip()

    server = start(stage, environment, place)
    try:
        key = descry("keys", "create", "admin", "--scope", "admin")
        descry("models", "register", "--shipped", "--activate")
        healthy(stage, environment, 120, server)
        if (status := asked(port)) != 401:
            raise SystemExit(f"without a key the answer is {status}, not 401")
        if not key.startswith("descry_"):
            raise SystemExit("no key was made")
        say("without a key: 401")
        server.send_signal(signal.SIGTERM)
        code = server.wait(30)
        say(f"SIGTERM: ended with {code}")
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            raise SystemExit(f"the server ended with {code}")
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def check_python(python: Path, stage: Stage) -> None:
    """End at once if the user of the image could not run this Python, as one below a closed home folder."""
    user, group = _as_user(stage)
    try:
        subprocess.run([python / "python3", "-c", ""], cwd="/", check=True, user=user, group=group)
    except (PermissionError, FileNotFoundError) as error:
        raise SystemExit(
            f"{python}/python3 cannot be run by {user or 'this user'} ({error.strerror}), whom the image runs as; name "
            "another folder with --python, such as /usr/bin"
        ) from None


def say(line: str) -> None:
    """Tell what is done."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> None:
    """Rehearse a target."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", choices=("cpu",), default="cpu", help="cuda wants its own base image")
    parser.add_argument("--torch-backend", default="cpu", help="build argument TORCH_BACKEND")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.base_prefix) / "bin",
        help="folder of the python3 that stands for the base image's; the user of the image must be able to read it",
    )
    parser.add_argument("--folder", type=Path, help="an empty folder that stays; a temporary one if absent")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="descry-rehearsal-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        rehearsal = Rehearsal(folder.resolve(), given.python, {"TORCH_BACKEND": given.torch_backend})
        stage = rehearsal.stage(given.target)
        check_python(given.python, stage)
        environment = rehearsal.build(given.target)
        data = Path(environment["DESCRY_DATA_DIR"])
        user, group = _as_user(stage)
        if user is not None and group is not None:
            os.chown(data, user, group)
        run(stage, environment, data)
    finally:
        if given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
