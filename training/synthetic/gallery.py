"""The demo gallery: a folder of images with a `manifest.jsonl`, as `descry ingest` reads it."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.synthetic.config import VERSION
from training.synthetic.person import identity_of, pictures_of
from training.synthetic.shift import other_camera, other_words
from training.synthetic.writer import MARK, fresh_folder, run, write_json

_SHOWN = (
    "sex",
    "age",
    "build",
    "hair_length",
    "hair_style",
    "hair_colour",
    "hat",
    "hat_colour",
    "glasses",
    "upper",
    "upper_colour",
    "upper_pattern",
    "outer",
    "outer_colour",
    "lower",
    "lower_colour",
    "shoes",
    "shoes_colour",
    "bag",
    "bag_colour",
    "carried",
    "carried_colour",
)
# Demo people continue the numbering of the test split far beyond any set's size, so they are in no split of any set.
_FIRST = 1_000_000
Job = tuple[int, int, int, str, bool]  # seed, number of the person from 0, images, root folder, another site


@dataclass(frozen=True)
class GalleryConfig:
    """Size of a demo gallery. Raises ValueError, naming the field, for a count out of range."""

    identities: int = 500
    images_per_identity: int = 4
    seed: int = 0
    workers: int | None = None
    shifted: bool = False
    """Another site: see `training.synthetic.shift`."""

    def __post_init__(self) -> None:
        for name, value in (("identities", self.identities), ("images_per_identity", self.images_per_identity)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.images_per_identity > 64:
            raise ValueError(f"images_per_identity must be at most 64, not {self.images_per_identity}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, not {self.seed!r}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")


def write_gallery(config: GalleryConfig, out: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write `out/images/*.jpg` and `out/manifest.jsonl`, one line per image, and return `out`.

    A line holds `file` (relative to `out`), `identity` ("P-0001"), `camera` ("cam-03 station hall"), `captured_at`
    (ISO 8601, UTC), `description` (one of the image's captions) and `attributes` (flat, strings; what a person does
    not have is left out). The people wear combinations of clothes that no train split contains. Same config, same
    bytes, whatever `workers` is; `progress(done, total)` counts images. Raises SyntheticSetError if `out` holds
    anything but a synthetic set or gallery.
    """
    with fresh_folder(out, MARK) as root:
        (root / "images").mkdir()
        jobs = [
            (config.seed, number, config.images_per_identity, str(root), config.shifted)
            for number in range(config.identities)
        ]
        total, lines = config.identities * config.images_per_identity, []
        with closing(run(write_entry, jobs, config.workers)) as results:
            for rows in results:
                lines += [json.dumps(row, ensure_ascii=False) for row in rows]
                if progress is not None:
                    progress(len(lines), total)
        (root / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        about = {
            "generator": "descry synthetic gallery",
            "version": VERSION,
            "seed": config.seed,
            "identities": config.identities,
            "images_per_identity": config.images_per_identity,
            "images": total,
            **({"shifted": True} if config.shifted else {}),
        }
        write_json(root / MARK, about)
    return out


def write_entry(job: Job) -> list[dict[str, Any]]:
    """Render and write the images of one person; returns the manifest's lines for them."""
    seed, number, images, root, shifted = job
    identity = identity_of(seed, "test", _FIRST + number)
    name = f"P-{number + 1:04d}"
    attributes = {key: identity[key] for key in _SHOWN if identity[key] != "none"}
    lens = (other_camera,) if shifted else ()
    rows = []
    for index, picture in enumerate(pictures_of(identity, seed, "test", _FIRST + number, images, *lens)):
        file = f"images/{name}_c{picture.camera.number:02d}_{index:02d}.jpg"
        (Path(root) / file).write_bytes(picture.jpeg)
        text = picture.captions[0].text
        rows.append(
            {
                "file": file,
                "identity": name,
                "camera": picture.camera.name,
                "captured_at": picture.captured_at,
                "description": other_words(text) if shifted else text,
                "attributes": attributes,
            }
        )
    return rows
