"""Every command of the guides that trains or measures is run, in their order (`places.py`)."""

import re

import pytest

from tests.guides.commands import ALL, ROOT, Walk, walked
from tests.guides.places import ELSEWHERE, NOT_HERE, REFUSED, SHORTER
from tests.training.miniature import write_icfg, write_msmt17

pytestmark = pytest.mark.long


def test_tables_speak_of_commands_that_the_guides_have() -> None:
    known = set(ALL)
    assert len(known) > 60
    assert set(SHORTER) <= known
    unused = [one for one in (*ELSEWHERE, *NOT_HERE) if not any(re.fullmatch(one, command) for command in known)]
    assert unused == []
    run = {one for kind in (True, False) for one in walked(training=kind)}
    assert set(REFUSED) <= run
    assert [place for place in ELSEWHERE.values() if not (ROOT / place).exists()] == []


def test_commands_of_training(walk: Walk) -> None:
    write_icfg(walk.folder / "data" / "ICFG-PEDES")
    write_msmt17(walk.folder / "data" / "MSMT17")
    for command in walked(training=True):
        walk.run(command)
    assert (walk.folder / "runs" / "two" / "best").is_dir()
    assert (walk.folder / "icfg.json").stat().st_size > 100
