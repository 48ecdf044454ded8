"""RSTPReid on disk (methods.md 2.1): `data_captions.json` beside a flat `imgs/`."""

import re
from pathlib import Path

from training.datasets.captioned import Layout, read_captioned
from training.datasets.report import Reading, ReadOptions, Size

LAYOUT = Layout(
    format="rstpreid",
    title="RSTPReid",
    annotations=("data_captions.json",),
    path_fields=("img_path", "file_path"),  # RaSa's edition renames the field
    camera=re.compile(r"_c(\d+)_"),
    first_identity=0,
    published={
        "train": Size(3_701, 18_505, 37_010),
        "val": Size(200, 1_000, 2_000),
        "test": Size(200, 1_000, 2_000),
    },
    releases={
        (
            3_901,
            100,
            100,
        ): "this is the old release of RSTPReid with 3,901/100/100 identities; published figures are on 3,701/200/200"
    },
)


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>/data_captions.json` or `<root>/RSTPReid/data_captions.json`."""
    return read_captioned(root, LAYOUT)
