"""Synthetic people without descriptions, seen by several cameras, in the on-disk format of Market-1501."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from training.synthetic.attributes import SPLITS
from training.synthetic.config import VERSION, SyntheticConfig
from training.synthetic.person import identity_of, pictures_of
from training.synthetic.writer import MARK, fresh_folder, run, write_json

# Beyond the numbers of any set with descriptions and of any demo gallery of the same seed: these are other people,
# before the same cameras.
_FIRST = 2_000_000
_TRAIN, _QUERY, _GALLERY = "bounding_box_train", "query", "bounding_box_test"
Job = tuple[int, str, int, int, int, str]  # seed, split, number within the split, id, images, root folder


def write_pictures(config: SyntheticConfig, out: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write `out/bounding_box_train`, `query` and `bounding_box_test` with names such as `0007_c03s1_000004_01.jpg`,
    and return `out`.

    Each person wears one set of clothes; up to 12 pictures are by as many cameras. A quarter of a test person's
    pictures, at least one, are queries; the others are the gallery. There is no val split, as in Market-1501. Same
    config, same bytes, whatever `workers` is; `progress(done, total)` counts images.

    Raises:
        ValueError: `val` is not 0, or a test person has less than two pictures.
        SyntheticSetError: `out` holds anything but a synthetic set.
    """
    if config.val:
        raise ValueError(f"val must be 0, not {config.val}: the format of Market-1501 has no val split")
    if config.test and config.images_per_identity < 2:
        raise ValueError("images_per_identity must be at least 2: a query and what it shall find")
    with fresh_folder(out, MARK) as root:
        for folder in (_TRAIN, _QUERY, _GALLERY):
            (root / folder).mkdir()
        jobs = [
            (config.seed, split, number, id_, config.images_per_identity, str(root))
            for id_, (split, number) in enumerate(config.people(), 1)
        ]
        done, total = 0, len(jobs) * config.images_per_identity
        with closing(run(write_person, jobs, config.workers)) as results:
            for written in results:
                done += written
                if progress is not None:
                    progress(done, total)
        sizes = {split: config.identities(split) for split in SPLITS}
        about = {"generator": "descry synthetic pictures", "version": VERSION, "seed": config.seed,
                 "identities": sizes, "images_per_identity": config.images_per_identity, "images": total}  # fmt: skip
        write_json(root / MARK, about)
    return out


def write_person(job: Job) -> int:
    """Render and write the pictures of one person; returns how many."""
    seed, split, number, id_, images, root = job
    identity = identity_of(seed, split, _FIRST + number)
    queries = max(1, images // 4) if split == "test" else 0
    for index, picture in enumerate(pictures_of(identity, seed, split, _FIRST + number, images)):
        folder = _TRAIN if split == "train" else _QUERY if index < queries else _GALLERY
        name = f"{id_:04d}_c{picture.camera.number:02d}s1_{index:06d}_01.jpg"
        (Path(root) / folder / name).write_bytes(picture.jpeg)
    return images
