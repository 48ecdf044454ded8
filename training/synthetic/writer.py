"""Writes a synthetic set in the on-disk format of CUHK-PEDES, on all cores, all or nothing."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from training.synthetic.attributes import SPLITS
from training.synthetic.config import VERSION, SyntheticConfig
from training.synthetic.errors import SyntheticSetError
from training.synthetic.parts import Part
from training.synthetic.person import Picture, identity_of, pictures_of

In = TypeVar("In")
Out = TypeVar("Out")
MARK = "synthetic.json"
Job = tuple[int, str, int, int, int, str]  # seed, split, number within the split, id, images, root folder
Rows = tuple[list[dict[str, Any]], dict[str, Any]]


def generate(config: SyntheticConfig, out: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write the set to the folder `out` and return it.

    Writes `reid_raw.json`, `imgs/cam_NN/*.jpg`, `attributes.json` (the truth) and `synthetic.json` (what it was made
    from). The same config gives byte-identical files whatever the number of workers. `progress(done, total)` is told
    the images so far. The set appears under its name only when it is complete. Worker processes are spawned, so a
    script that calls this needs the usual `if __name__ == "__main__"` guard. Raises SyntheticSetError if `out` holds
    anything but a synthetic set.
    """
    with fresh_folder(out, MARK) as root:
        jobs = [
            (config.seed, split, number, id_, config.images_per_identity, str(root))
            for id_, (split, number) in enumerate(config.people(), 1)
        ]
        records: list[dict[str, Any]] = []
        people: list[dict[str, Any]] = []
        total = len(jobs) * config.images_per_identity
        with closing(run(write_person, jobs, config.workers)) as results:
            for rows, person in results:
                records += rows
                people.append(person)
                if progress is not None:
                    progress(len(records), total)
        sizes = {split: config.identities(split) for split in SPLITS}
        about = {"generator": "descry synthetic", "version": VERSION, "seed": config.seed, "identities": sizes,
                 "images_per_identity": config.images_per_identity, "images": len(records)}  # fmt: skip
        write_json(root / "reid_raw.json", records)
        write_json(root / "attributes.json", {"identities": people})
        write_json(root / MARK, about)
    return out


def write_person(job: Job) -> Rows:
    """Render and write one identity; returns its `reid_raw.json` records and its entry of `attributes.json`."""
    seed, split, number, id_, images, root = job
    identity = identity_of(seed, split, number)
    records, truths = [], []
    for index, picture in enumerate(pictures_of(identity, seed, split, number, images)):
        path = f"cam_{picture.camera.number:02d}/{id_:05d}_c{picture.camera.number:02d}_{index:02d}.jpg"
        file = Path(root) / "imgs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture.jpeg)
        captions = picture.captions
        records.append({"split": split, "captions": [c.text for c in captions], "file_path": path, "id": id_,
                        "processed_tokens": [c.tokens for c in captions]})  # fmt: skip
        truths.append(truth(picture, path))
    return records, {"id": id_, "split": split, "attributes": identity.values, "images": truths}


def truth(picture: Picture, path: str) -> dict[str, Any]:
    """What is true of one image: camera, time, view, visible parts (share of the crop's pixels) and the captions'
    mentions."""
    visible = {
        part.name.lower(): round(share, 4)
        for part, share in picture.sight.parts.items()
        if share > 0 and part is not Part.NOTHING
    }
    return {
        "file_path": path,
        "camera": picture.camera.name,
        "captured_at": picture.captured_at,
        "yaw": picture.yaw,
        "view": view_name(picture.yaw),
        "visible": visible,
        "mentions": [[list(m) for m in c.mentions] for c in picture.captions],
    }


def view_name(yaw: float) -> str:
    """The view ("front", "side" or "back") for a yaw in degrees."""
    return "front" if abs(yaw) < 50 else "back" if abs(yaw) > 130 else "side"


def write_json(path: Path, value: object) -> None:
    """Compact UTF-8 JSON with a final newline: the same value gives the same bytes."""
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")


def run(work: Callable[[In], Out], jobs: list[In], workers: int | None) -> Generator[Out, None, None]:
    """The results in the order of the jobs, from `workers` processes (None: one per usable core); one worker runs in
    this process. Closing the generator early drops the jobs that have not begun and waits for those that have."""
    count = min(workers or _usable_cores(), max(1, len(jobs) // 8))
    if count == 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context) as pool:
        try:
            yield from pool.map(work, jobs, chunksize=max(1, min(16, len(jobs) // (count * 4))))
        except BrokenProcessPool as error:
            raise SyntheticSetError("a worker process died, perhaps for want of memory: try fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def fresh_folder(out: Path, mark: str) -> Iterator[Path]:
    """A temporary sibling of `out`, which takes its place if the block succeeds and vanishes if it fails.

    `mark` is the file that only a generated folder has. Raises SyntheticSetError if `out` exists, is not empty and
    has no such file.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).is_file()))):
        raise SyntheticSetError(
            f"{out} exists and was not written by the generator (no {mark}): choose another folder or remove it"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    root = out.parent / f".{out.name}.{uuid4().hex[:8]}.partial"
    root.mkdir()
    try:
        yield root
        if out.exists():
            old = out.parent / f".{out.name}.{uuid4().hex[:8]}.old"
            out.rename(old)
            root.rename(out)
            shutil.rmtree(old)
        else:
            root.rename(out)
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
