"""descry ingest-video; descry watch."""

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import AsJson, DataDir, errors, print_json, progress_bar, results, shown

if TYPE_CHECKING:
    from app.core import Core
    from app.settings import Settings
    from app.video.plan import Plan

REJECTED_EXIT = 3
Camera = Annotated[
    str | None,
    typer.Option(
        help="Which camera took them; for files in a folder, the folder's name if absent.", show_default=False
    ),
]
Collection = Annotated[str, typer.Option(help="The collection they go into; made if it is new.")]
Fps = Annotated[
    float | None, typer.Option(min=0.1, max=60, help="Frames per second that are looked at.", show_default=False)
]


def ingest_video(
    paths: Annotated[list[Path], typer.Argument(help="Videos, and folders of videos.")],
    camera: Camera = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="ISO 8601 time of the first frame; else the file's creation time, else its name says it.",
            show_default=False,
        ),
    ] = None,
    collection: Collection = "default",
    fps: Fps = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave them to a worker, and return at once.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 3 when a video was rejected.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find the people in videos and take their best crops into the gallery. Run it again to continue."""
    from app.settings import load_settings
    from app.video.clock import read_start
    from app.video.plan import Plan, checked_camera
    from app.video.service import plans

    settings = load_settings(data_dir=data_dir)
    told = None if start is None else read_start(start)
    wanted = list(plans(paths, Plan(Path(), "", collection, checked_camera(camera), told, fps)))
    if queue:
        _queue(settings, wanted, as_json=as_json)
        return
    from app.core import opened

    with opened(settings) as core:
        core.store.check()
        reports = [_take(core, plan) for plan in wanted]
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            _print(report)
    if strict and any("code" in report for report in reports):
        raise typer.Exit(REJECTED_EXIT)


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder into which videos are put; its folders count too.")],
    camera: Camera = None,
    collection: Collection = "default",
    fps: Fps = None,
    settle: Annotated[
        float, typer.Option(min=0.0, help="Seconds for which a file must not grow before it is taken.")
    ] = 10.0,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Take what is there and has settled, then end.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Queue each video that appears in a folder, once. Workers do the jobs; the files must stay until they have."""
    from app.commands.jobs import database_of
    from app.errors import ServiceError
    from app.video.plan import Plan, checked_camera
    from app.video.watching import Watcher

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with database_of(data_dir) as database:
        plan = Plan(Path(), "", collection, checked_camera(camera), None, fps)
        watcher = Watcher(database, folder, plan, settle_s=settle)
        ends = time.monotonic() + settle
        while not stopped.is_set():
            try:
                for job in watcher.look():
                    if as_json:
                        print_json(job.model_dump(mode="json"))
                    else:
                        results().print(f"{job.id} queued", highlight=False)
            except ServiceError as error:  # a share that is away now may be back at the next look
                if once:
                    raise
                errors().print(f"{error.code}: {error.message}", markup=False, highlight=False, soft_wrap=True)
            if once and time.monotonic() > ends:
                return
            stopped.wait(min(every, max(0.05, settle)) if once else every)


def _queue(settings: "Settings", wanted: "list[Plan]", *, as_json: bool) -> None:
    from app.commands.jobs import database_of, print_job
    from app.video.service import queue_video

    with database_of(settings) as database:
        for plan in wanted:
            job, _ = queue_video(database, plan)
            print_job(database, job.id, as_json=as_json)


def _take(core: "Core", plan: "Plan") -> dict[str, Any]:
    """Take one video in; a video that cannot be read is told, and the next one follows."""
    from app.errors import InvalidError
    from app.video.kept import Kept
    from app.video.taking import VideoTaking

    began = time.perf_counter()
    try:
        kept = Kept(core.settings.video_dir / f"here-{_mark(plan)}", core.settings.min_free_bytes)
        taking = VideoTaking(core, plan, kept)
    except InvalidError as error:
        return {"video": plan.name, "code": error.code, "message": error.message}
    try:
        total = taking.footage.facts.duration_s
        with progress_bar() as bar:
            task = bar.add_task(shown(plan.name), total=total, note="")
            going = True
            while going:
                going = taking.run(lambda: True, lambda session, tally, upto_s: bar.update(task, completed=upto_s))
                bar.update(task, note=f"{taking.tally.tracks} tracks")
    except InvalidError as error:
        return {"video": plan.name, "code": error.code, "message": error.message}
    finally:
        taking.close()
    kept.remove()
    start = taking.provenance.start
    return {
        "video": plan.name,
        "camera": plan.camera,
        "start": start.at.isoformat() if start.at else None,
        "start_known_by": start.known_by,
        "duration_s": total,
        **taking.tally.to_json(),
        "lost": taking.losses,
        "seconds": round(time.perf_counter() - began, 3),
    }


def _mark(plan: "Plan") -> str:
    """The name of the folder that lets a second run continue."""
    import hashlib

    told = f"{plan.path.resolve()}\0{plan.parameters()}"
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:16]


def _print(report: dict[str, Any]) -> None:
    name = shown(report["video"])
    if "code" in report:
        results().print(f"{name}: [bold red]{report['code']}[/]: {shown(report['message'])}", soft_wrap=True)
        return
    lost = "".join(f"; {loss['from_s']:.1f} to {loss['to_s']:.1f} s cannot be decoded" for loss in report["lost"])
    begins = f"begins {report['start']} (by {report['start_known_by']})" if report["start"] else "time unknown"
    results().print(
        f"{name}: [bold]{report['tracks']:,} tracks, {report['ingested']:,} images[/], {report['duplicate']:,} "
        f"duplicates, {report['rejected']:,} rejected; {begins}{lost}; {report['seconds']:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
