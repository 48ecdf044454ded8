"""DukeMTMC-reID on disk (methods.md 2.2): the layout of Market-1501.

Its owners withdrew it; this reads copies that exist.
"""

from pathlib import Path

from training.datasets.market1501 import Layout, read_folders
from training.datasets.report import Reading, ReadOptions, Size

LAYOUT = Layout(
    format="dukemtmc",
    title="DukeMTMC-reID",
    folders=("DukeMTMC-reID",),
    published={"train": Size(702, 16_522), "query": Size(702, 2_228), "gallery": Size(None, 17_661)},
)


def read(root: Path, options: ReadOptions) -> Reading:
    """Read `<root>` or `<root>/DukeMTMC-reID`."""
    return read_folders(root, LAYOUT)
