"""The server's housekeeping goes on whatever happens to one round of it."""

import threading

import pytest

from app import main
from app.core import Core


def test_an_error_that_nobody_foresaw_does_not_end_it(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, enough = [0], threading.Event()

    def apply(_: Core) -> int:
        rounds[0] += 1
        if rounds[0] == 3:
            enough.set()
        raise RuntimeError("a fault in a library")

    monkeypatch.setattr(main, "apply", apply)
    monkeypatch.setattr(main, "_FOLLOW_S", 0.01)
    monkeypatch.setattr(core, "settings", core.settings.model_copy(update={"maintenance_s": 0.01}))
    keeper = main._Keeper(core)
    keeper.start()
    try:
        assert enough.wait(30)
    finally:
        keeper.stop()
