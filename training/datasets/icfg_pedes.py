"""ICFG-PEDES on disk (methods.md 2.1): `ICFG-PEDES.json` beside `imgs/`, whose folders are MSMT17's, not the splits.

It has no val split; `training.records.carve_validation` makes one.
"""

import re
from pathlib import Path

from training.datasets.captioned import Layout, read_captioned
from training.datasets.report import Reading, ReadOptions, Size

LAYOUT = Layout(
    format="icfg_pedes",
    title="ICFG-PEDES",
    # READMEs write the underscore, the data set and all loaders have the hyphen.
    annotations=("ICFG-PEDES.json", "ICFG_PEDES.json"),
    # As MSMT17 names its images: 0627_010_05_0303afternoon_1591_0.jpg is of camera 05.
    camera=re.compile(r"^[^_]+_[^_]+_(\d+)_"),
    first_identity=0,
    published={"train": Size(3_102, 34_674, 34_674), "val": Size(0, 0, 0), "test": Size(1_000, 19_848, 19_848)},
)


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>/ICFG-PEDES.json` or `<root>/ICFG-PEDES/ICFG-PEDES.json`."""
    return read_captioned(root, LAYOUT)
