"""CUHK-PEDES on disk (methods.md 2.1): `reid_raw.json` beside `imgs/`. The synthetic people come in the same form."""

import re
from pathlib import Path

from training.datasets.captioned import Layout, read_captioned
from training.datasets.report import Reading, ReadOptions, Size

LAYOUT = Layout(
    format="cuhk_pedes",
    title="CUHK-PEDES",
    annotations=("reid_raw.json",),
    # The published images carry no camera; those of the synthetic people do.
    camera=re.compile(r"_c(\d+)_"),
    first_identity=1,
    published={
        "train": Size(11_003, 34_054, 68_126),
        "val": Size(1_000, 3_078, 6_158),
        "test": Size(1_000, 3_074, 6_156),
    },
    mistaken={"caption_all.json": "the older form, which has no splits; reid_raw.json comes with the data set too"},
)
SINGLE_IMAGE_IDS = frozenset({1369, 4116, 6116})
"""Train ids with one image each, which LGUR leaves out."""


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>/reid_raw.json` or `<root>/CUHK-PEDES/reid_raw.json`."""
    return read_captioned(root, LAYOUT, dropped=SINGLE_IMAGE_IDS if options.drop_single_image_ids else frozenset())
