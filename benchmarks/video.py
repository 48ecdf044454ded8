"""`python -m benchmarks.video`: people in generated videos, against the truth, from the frames to the search.

Several cameras, each with people of its own who walk by, cross, turn round and pass behind a post. Detection and
tracking are measured frame by frame (`benchmarks.tracks`), then the same videos are taken into a gallery by the
service's own code and each person's description is searched for: the right answer is a track whose pictures show mostly
this person.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from starlette.testclient import TestClient

from app.core import Core
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from app.video.appearance import colours
from app.video.boxes import overlaps
from app.video.footage import Footage
from app.video.kept import Kept
from app.video.plan import Plan
from app.video.taking import VideoTaking, make_detector
from app.video.walk import Options, Piece, Sight, Walk
from benchmarks.gallery import make_gallery, open_with_model
from benchmarks.tracks import LEAST_OVERLAP, Score, inside
from training.synthetic.walking import WalkingConfig, write_video

CAMERAS, PEOPLE, SEED = (1, 3, 8, 10), 8, 5
TOP = 5


def run(
    videos: Annotated[
        Path | None, typer.Option(help="Folder of videos made before by this; made anew if absent.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each video.")] = 30.0,
    others: Annotated[int, typer.Option(help="People of other images in the gallery, four images each.")] = 100,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/video.json"),
) -> None:
    """Measure the default detector, the tracker and the search for tracks."""
    with tempfile.TemporaryDirectory(prefix="descry-bench-") as temporary:
        folder = videos or Path(temporary) / "videos"
        paths = made(folder, seconds)
        settings = Settings(data_dir=Path(temporary) / "data", device="cpu")
        rows, owners = [], {}
        for path in paths:
            row, owners[path.stem] = followed(path, settings)
            rows.append(row)
        if others:
            make_gallery(Path(temporary) / "others", others)
        searched = found(paths, owners, settings, Path(temporary) / "others" if others else None)
    table = Table("Video", *(name for name in rows[0] if name != "video"), title="Against the truth, boxes at IoU 0.5")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console(width=200)
    console.print(table)
    console.print(searched)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"videos": rows, "search": searched}, indent=1) + "\n")


def made(folder: Path, seconds: float) -> list[Path]:
    """The videos, one a camera, each with people of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for place, number in enumerate(CAMERAS):
        path = folder / f"camera-{number:02d}.mp4"
        if not path.with_suffix(".json").is_file():
            config = WalkingConfig(SEED, number, PEOPLE, place * PEOPLE, seconds)
            write_video(config, path)
        paths.append(path)
    return paths


def followed(path: Path, settings: Settings) -> tuple[dict[str, Any], dict[int, int]]:
    """Figures of one video, and the person that each track shows most."""
    truth = json.loads(path.with_suffix(".json").read_text())
    fps, size = truth["config"]["fps"], tuple(truth["config"]["size"])
    boxes, tracks, crops = Score(), Score(), list[int]()
    began, spent = time.perf_counter(), 0.0
    with Footage(path, settings.max_pixels) as footage:
        walk = Walk(
            footage, make_detector(settings), colours, Options(fps=settings.video_fps, crops=settings.video_crops)
        )
        ended = False
        while not ended:
            for item in walk.steps():
                if isinstance(item, Piece):
                    ended = item.ended
                    crops += [len(harvest.shots) for harvest in item.harvests]
                    continue
                paused = time.perf_counter()
                _judge(item, truth["frames"], fps, size, boxes, tracks)
                spent += time.perf_counter() - paused
        length = footage.facts.duration_s or 1.0
    seconds = time.perf_counter() - began - spent
    seen, kept = boxes.figures(), tracks.figures()
    row = {
        "video": path.stem,
        "detection recall": seen["recall"],
        "precision": seen["precision"],
        "MOTA": kept["mota"],
        "IDF1": kept["idf1"],
        "switches": kept["switches"],
        "fragments": kept["fragments"],
        "people": kept["people"],
        "tracks": walk.counts.tracks,
        "crops per track": float(np.mean(crops)) if crops else 0.0,
        "s per s of video": seconds / length,
    }
    return row, tracks.owners()


def _judge(
    item: Sight, frames: list[list[dict[str, Any]]], fps: float, size: tuple[int, int], boxes: Score, tracks: Score
) -> None:
    people = frames[min(len(frames) - 1, round(item.frame.at_s * fps))]
    sure = item.found.scores >= 0.5
    boxes.take(people, item.found.boxes[sure], list(range(int(sure.sum()))), size)
    believed = [row for row in range(len(item.found.scores)) if item.numbers.get(row)]
    tracks.take(people, item.found.boxes[believed], [item.numbers[row] for row in believed], size)


def found(
    paths: list[Path], owners: dict[str, dict[int, int]], settings: Settings, others: Path | None
) -> dict[str, Any]:
    """At which place of the answer the first right track is, for each person's description."""
    core = open_with_model(settings.data_dir)
    try:
        took = sum(taken(core, path) for path in paths)
        if others is not None:
            for _ in core.ingest().run(open_source(others)):
                pass
    finally:
        core.close()
    ranks: list[int | None] = []
    shown: list[int | None] = []
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        for path in paths:
            truth = json.loads(path.with_suffix(".json").read_text())
            for person in truth["people"]:
                body = {"query": person["description"], "limit": 100}
                answer = client.post("/v1/search/text", json=body).raise_for_status().json()
                pictures = [_shown(candidate, path, truth) for candidate in answer["candidates"]]
                ranks.append(_place(_most(found) == person["person"] for found in pictures))
                shown.append(_place(found[0] == person["person"] for found in pictures))
    placed = [rank for rank in ranks if rank is not None]
    return {
        "people": len(ranks),
        f"right track in the top {TOP}": sum(rank <= TOP for rank in placed) / len(ranks),
        "right track first": sum(rank == 1 for rank in placed) / len(ranks),
        "first picture shows the person": sum(rank == 1 for rank in shown) / len(shown),
        "people with a track of their own": sum(
            person["person"] in owners[path.stem].values()
            for path in paths
            for person in json.loads(path.with_suffix(".json").read_text())["people"]
        ) / len(ranks),
        "ranks": ranks,
        "ranks of the first picture of the person": shown,
        "seconds with the ingest": took,
    }  # fmt: skip


def taken(core: Core, path: Path) -> float:
    """Take one video into the gallery; returns the seconds."""
    began = time.perf_counter()
    taking = VideoTaking(core, Plan(path, path.name, camera=path.stem), Kept(core.settings.video_dir / path.stem))
    try:
        while taking.run(lambda: True, lambda *_: None):
            pass
    finally:
        taking.close()
    return time.perf_counter() - began


def _shown(candidate: dict[str, Any], path: Path, truth: dict[str, Any]) -> list[int | None]:
    """The person whom each picture of a candidate shows, by the truth; None where that is nobody of this video."""
    about = [image["attributes"] for image in candidate["images"]]
    return [_whose(one, truth) if one.get("video") == path.name else None for one in about]


def _whose(about: dict[str, Any], truth: dict[str, Any]) -> int | None:
    frames = truth["frames"]
    people = frames[min(len(frames) - 1, round(about["video_time_s"] * truth["config"]["fps"]))]
    left, top, width, height = about["video_box"]
    there = [(inside(one["box"], tuple(truth["config"]["size"])), one["person"]) for one in people]
    boxes = [(box, person) for box, person in there if box is not None]
    if not boxes:
        return None
    shared = overlaps(np.array([box for box, _ in boxes]), np.array([[left, top, left + width, top + height]]))[:, 0]
    best = int(shared.argmax())
    return int(boxes[best][1]) if shared[best] >= LEAST_OVERLAP else None


def _most(shown: list[int | None]) -> int | None:
    counts = Counter(person for person in shown if person is not None)
    return counts.most_common(1)[0][0] if counts else None


def _place(right: Iterable[bool]) -> int | None:
    return next((place for place, one in enumerate(right, 1) if one), None)


if __name__ == "__main__":
    typer.run(run)
