"""descry serve, demo."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import DataDir, errors

if TYPE_CHECKING:
    from app.commands.supervision import Inherited
    from app.core import Core
    from app.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on (DESCRY_HOST, default 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (DESCRY_PORT, default 8000; 0 takes a free one).")]
Processes = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes that answer on the port (DESCRY_PROCESSES, default 1).")
]
WithWorker = Annotated[bool, typer.Option("--worker/--no-worker", help="Run a worker for jobs beside the server.")]
_GRACE_S = 10
_IDENTITIES, _IMAGES, _SEED = 600, 4, 20


def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    processes: Processes = None,
    with_worker: WithWorker = True,
) -> None:
    """Answer searches over HTTP."""
    from app.settings import load_settings

    settings = load_settings(host=host, port=port, data_dir=data_dir, processes=processes)
    _serve(settings, lambda: None, with_worker=with_worker)


def demo(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Build a gallery of synthetic people (once), and serve it."""
    from app.settings import load_settings

    settings = load_settings(host=host, port=port, data_dir=data_dir)
    _serve(settings, lambda: prepare_demo(settings))


def _serve(settings: "Settings", prepare: Callable[[], None], *, with_worker: bool = True) -> None:
    """Prepare and serve in this process if a supervisor runs it, or none is wished; else supervise that."""
    from app.commands.supervision import end_as, inherited, supervise

    if (given := inherited()) is not None:
        if not given.place:
            prepare()
        run_server(settings, given.listener, with_worker=with_worker, given=given)
        return
    _check_several(settings)
    listener = listen(settings)  # a taken port is better known before a gallery is built
    if settings.supervise:
        from app.telemetry import configure_logging

        configure_logging(kind=settings.log_format)
        end_as(supervise(listener, settings.processes))
    prepare()
    run_server(settings, listener, with_worker=with_worker)


def listen(settings: "Settings") -> socket.socket:
    """Take the port of the settings.

    Raises:
        PortTakenError: somebody else has it, or the address is not ours.
    """
    from app.commands.supervision import beside
    from app.errors import PortTakenError

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol spelled out, or asyncio leaves Nagle on: 40 ms on each answer over a kept connection.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another with --port or "
            "DESCRY_PORT"
        ) from error
    if settings.processes == 1:
        return listener
    # Only now that it is known to be free: with SO_REUSEPORT, another server's port would be shared without a word.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared = beside(listener)
    listener.close()
    return shared


def _check_several(settings: "Settings") -> None:
    """Refuse several processes where there can be one only.

    Raises:
        ConfigurationError: they would not be supervised, or Milvus Lite admits one.
    """
    from app.errors import ConfigurationError

    if settings.processes > 1 and not settings.supervise:
        raise ConfigurationError(
            "several processes need their supervisor: leave DESCRY_SUPERVISE=true, or serve in one"
        )
    if settings.processes > 1 and settings.vector_engine == "milvus" and "://" not in settings.milvus_uri:
        raise ConfigurationError("Milvus Lite is for one process: serve in one, or name a cluster in DESCRY_MILVUS_URI")


def run_server(
    settings: "Settings",
    listener: socket.socket,
    *,
    with_worker: bool = True,
    given: "Inherited | None" = None,
) -> None:
    """Serve until interrupted, with a worker beside; requests in flight are finished first.

    Args:
        given: what the supervisor gave, if there is one; it is told once connections are answered. The first of
            several processes brings the worker.
    """
    from app.allocator import few_arenas
    from app.gallery.blurring import face_blur

    place = 0 if given is None else given.place
    few_arenas()
    face_blur(settings)  # before all that takes long to import

    import uvicorn

    from app.connections import patient
    from app.jobs.companion import companion
    from app.main import Several, create_app
    from app.telemetry import configure_logging
    from app.tracing import configure_tracing, end_tracing

    configure_logging(kind=settings.log_format, place=place if settings.processes > 1 else None)
    configure_tracing(settings, "server")
    port = listener.getsockname()[1]
    several = None
    if settings.processes > 1 and given is not None:
        several = Several(place, f"descry-{port}-{os.getppid()}", relieved=given.relieved)
    config = uvicorn.Config(
        create_app(settings, several),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
        http=patient(settings.body_idle_s),
    )
    if not place:
        errors().print(_greeting(settings, port), highlight=False, soft_wrap=True)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and given is not None:
                given.serving()

    server = Server(config)
    with companion(settings) if with_worker and not place else nullcontext():
        server.run(sockets=[listener])
    end_tracing()
    if not server.started:
        raise typer.Exit(1)


def _greeting(settings: "Settings", port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.on_loopback:
        who = "Until the first key is made, everyone on this machine may do everything."
    elif settings.allow_open:
        who = "Until the first key is made, it is OPEN to everyone who reaches it."
    else:
        who = "Every request needs a key; `descry keys create NAME --scope admin` makes the first one."
    return f"Descry at [bold]http://{host}:{port}[/], data in {settings.data_dir}. {who} Ctrl-C ends it."


def prepare_demo(settings: "Settings") -> None:
    """Make sure that a model version is active and that the gallery holds people. Quick when both are so."""
    gallery = settings.data_dir / "demo-gallery"
    done = gallery / ".ingested"
    if done.exists():
        return
    making = None if gallery.is_dir() or _has_images(settings) else _synthesise(gallery)
    try:
        # PyTorch is imported while the child draws people.
        from app.commands.intake import run_ingest
        from app.core import opened
        from app.gallery.sources import open_source

        with opened(settings) as core:
            _activate_shipped(core)
            if making is not None:
                _finish(making, gallery)
            if gallery.is_dir():
                run_ingest(core, open_source(gallery))
                done.touch()
    finally:
        if making is not None and making.poll() is None:
            making.terminate()
            making.wait()


def _has_images(settings: "Settings") -> bool:
    from app.database.migrate import upgrade
    from app.database.sessions import Database
    from app.gallery.repository import ImageRepository

    database = Database(settings.database)
    try:
        upgrade(database)
        with database.read() as session:
            return ImageRepository(session).count() > 0
    finally:
        database.close()


def _synthesise(gallery: Path) -> "subprocess.Popen[bytes]":
    """Start drawing people. The folder gets its name when it is complete: half a gallery is never ingested."""
    partial = _partial(gallery)
    shutil.rmtree(partial, ignore_errors=True)
    size = ["--identities", str(_IDENTITIES), "--images", str(_IMAGES), "--seed", str(_SEED)]
    command = [sys.executable, "-m", "training", "synthesise-gallery", str(partial), *size]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)  # its progress bar is on standard error


def _finish(making: "subprocess.Popen[bytes]", gallery: Path) -> None:
    from app.errors import ConfigurationError

    if code := making.wait():
        raise ConfigurationError(f"the demo gallery could not be made: `python -m training` ended with code {code}")
    _partial(gallery).rename(gallery)


def _partial(gallery: Path) -> Path:
    return gallery.with_name(f"{gallery.name}.partial")


def _activate_shipped(core: "Core") -> None:
    from app.commands.models import activate_version, register_checkpoint
    from app.vectors.repository import LogRepository
    from models.checkpoint import DEMO

    with core.database.read() as session:
        active = LogRepository(session).head().active_version_id
    if active is None:
        activate_version(core, register_checkpoint(core, DEMO, "demo").id)
