"""The folder, the port and the workers of this machine."""

import http.client
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.commands.serving import listen
from app.diagnosis.schemas import Finding, fail, ok, warn
from app.errors import DiskLowError, PortTakenError
from app.files import check_free
from app.jobs.names import names_in_use
from app.settings import Settings

_ANSWER_S = 3.0
_NO_SETTING = ("DESCRY_DESCRIBE", "DESCRY_TEST_", "DESCRY_FUZZ_", "DESCRY_CHAOS_", "DESCRY_SUPERVISED")
"""What other programs of this repository read."""


def machine(settings: Settings) -> Iterator[Finding]:
    """What Descry needs of the machine beside memory."""
    yield settings_named(os.environ)
    yield _folder(settings.data_dir)
    yield _disk(settings)
    yield port(settings)


def settings_named(environment: Mapping[str, str]) -> Finding:
    """Whether each DESCRY_ variable is a setting: one that is misspelt would be in force nowhere, without a word."""
    known = {f"DESCRY_{name.upper()}" for name in Settings.model_fields}
    unknown = [name for name in sorted(environment) if name.upper().startswith("DESCRY_") and name.upper() not in known]
    odd = [name for name in unknown if not name.upper().startswith(_NO_SETTING)]
    if odd:
        return warn("settings", f"no such setting: {', '.join(odd)}", "docs/settings.md lists all; it has no effect")
    return ok("settings", "every DESCRY_ variable is a setting")


def _folder(folder: Path) -> Finding:
    advice = "choose another folder (DESCRY_DATA_DIR, --data-dir), or give this one to the user that runs Descry"
    place = folder.absolute()
    if not folder.exists():
        parent = _existing(folder)
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            return fail("folder", f"the data folder {place} does not exist and cannot be made in {parent}", advice)
        return ok("folder", f"the data folder {place} does not exist yet; the first start makes it")
    try:
        with tempfile.TemporaryFile(dir=folder) as handle:  # what permissions promise, a file system may not keep
            handle.write(b"x")
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        return fail("folder", f"the data folder {place} cannot be written: {error.strerror}", advice)
    return ok("folder", f"the data folder {place} can be written")


def _disk(settings: Settings) -> Finding:
    place = _existing(settings.data_dir)
    free = os.statvfs(place)
    told = f"{free.f_bavail * free.f_frsize / 2**30:,.1f} GiB are free on the disk of {place}"
    try:
        check_free(place, settings.min_free_bytes)
    except DiskLowError as error:
        return fail("disk", error.message, "make room; until then nothing is taken in")
    return ok("disk", told)


def port(settings: Settings) -> Finding:
    """Whether a server could listen, or does already."""
    try:
        listen(settings).close()
    except PortTakenError as error:
        if answers(settings):
            return ok("port", f"a Descry answers at {settings.host}:{settings.port}")
        return fail("port", error.message, "end the other program, or choose another port (--port, DESCRY_PORT)")
    return ok("port", f"{settings.host}:{settings.port} is free")


def answers(settings: Settings) -> bool:
    """Whether a Descry serves at the address of the settings."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/healthz", headers={"Host": "127.0.0.1"})
        answer = connection.getresponse()
        return answer.status == 200 and answer.getheader("X-Request-ID") is not None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def workers(settings: Settings, *, queued: int, silent: int) -> Finding:
    """Whether somebody does the jobs.

    Args:
        queued: jobs that wait.
        silent: running jobs whose worker gave no sign of life for `worker_lost_s`.
    """
    here = names_in_use(settings.workers_dir)
    told = f"{len(here)} workers run here{': ' + ', '.join(here) if here else ''}; {queued} jobs wait"
    if silent:
        return warn("workers", f"{told}; {silent} running jobs have lost theirs", "start a worker: descry worker")
    if queued and not here:
        return warn(
            "workers", told, "start one: descry worker (descry serve has one beside it), unless others run elsewhere"
        )
    return ok("workers", told)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
