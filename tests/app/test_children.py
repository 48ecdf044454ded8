"""Child processes: followed while they run, and gone with everything that they started, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.jobs.children import Child
from tests.waiting import LIMIT_S, alive, until

# It tells its own number and that of a child of its own; both would live for a minute and ignore SIGTERM.
STUBBORN = """
import json, os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(sys.argv[1] + "/events.jsonl", "a") as events:
    events.write(json.dumps({"pids": [os.getpid(), inner.pid]}) + chr(10))
time.sleep(60)
"""


def told(folder: Path) -> list[int]:
    """The processes of `STUBBORN`, once it has told them."""
    events = folder / "events.jsonl"
    until(lambda: events.is_file() and events.read_text().endswith("\n"))
    pids = json.loads(events.read_text().splitlines()[-1])["pids"]
    assert all(alive(pid) for pid in pids)
    return list(pids)


def python(code: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", code, str(folder)]


def test_ending_a_child_ends_what_it_started(tmp_path: Path) -> None:
    with Child(python(STUBBORN, tmp_path), tmp_path, grace_s=0.3) as child:
        pids = told(tmp_path)
        assert child.running
        child.end()
        assert not any(alive(pid) for pid in pids)
        assert not child.running
        assert child.code == -signal.SIGKILL


def test_a_command_that_ends_takes_along_what_it_left_behind(tmp_path: Path) -> None:
    code = STUBBORN.replace("time.sleep(60)\n", "os._exit(3)\n")
    with Child(python(code, tmp_path), tmp_path) as child:
        until(lambda: not child.running)
        assert child.code == 3
        (event,) = child.events()
        assert not any(alive(pid) for pid in event["pids"])


@pytest.mark.parametrize("victim", ["worker", "supervisor"])
def test_nothing_outlives_a_kill(victim: str, tmp_path: Path) -> None:
    """SIGKILL for the process that asked for the child, and for the one that watches over it."""
    asking = (
        "import sys, time; from pathlib import Path; from app.jobs.children import Child\n"
        "folder = Path(sys.argv[1])\n"
        "child = Child([sys.executable, '-c', sys.argv[2], sys.argv[1]], folder, grace_s=0.3)\n"
        "while child.running: time.sleep(0.02)\n"
        "sys.exit(0 if child.code == -9 else 1)\n"
    )
    with subprocess.Popen([*python(asking, tmp_path), STUBBORN]) as worker:
        pids = told(tmp_path)
        group = os.getpgid(pids[0])
        assert group == os.getsid(pids[0])
        assert group != os.getpgid(worker.pid)
        os.kill(worker.pid if victim == "worker" else group, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in (*pids, group)))
        assert worker.wait(LIMIT_S) == (-signal.SIGKILL if victim == "worker" else 0)


def test_two_runs_of_one_folder_do_not_overlap(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "for word in ('begin', 'end'):\n"
        "    open(sys.argv[1] + '/words', 'a').write(word + ' ')\n"
        "    time.sleep(0.3)\n"
    )
    with Child(python(code, tmp_path), tmp_path) as first, Child(python(code, tmp_path), tmp_path) as second:
        until(lambda: not first.running and not second.running)
        assert (first.code, second.code) == (0, 0)
    assert (tmp_path / "words").read_text().split() == ["begin", "end"] * 2


def test_events_are_whole_lines_of_this_run(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"old": 1}\n{"cut sh')  # by a kill
    (tmp_path / "stderr.log").write_text("of an earlier run\n")
    code = (
        "import sys, os\n"
        "with open(sys.argv[1] + '/events.jsonl', 'ab', buffering=0) as out:\n"
        '    out.write(b\'{"n": 1}\\nnot json\\n[2]\\n{"n"\')\n'
        "    while not os.path.exists(sys.argv[1] + '/go'): pass\n"
        "    out.write(b': 3}\\n')\n"
        "print('complaint', file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    with Child(python(code, tmp_path), tmp_path) as child:
        seen: list[object] = []
        until(lambda: seen.extend(child.events()) is None and len(seen) == 1)  # type: ignore[func-returns-value]
        (tmp_path / "go").touch()
        until(lambda: not child.running)
        assert seen + list(child.events()) == [{"n": 1}, {"n": 3}]
        assert child.complaints() == ["complaint"]
        assert child.code == 7


def test_a_child_stands_back_as_a_session_too(tmp_path: Path) -> None:
    """On most Linux machines sessions share the processors equally, whatever the niceness within them."""
    autogroup = Path("/proc/self/autogroup")
    if not autogroup.is_file():
        pytest.skip("this system does not schedule sessions as groups")
    telling = "import json, os, sys; told = {'nice': os.nice(0), 'group': open('/proc/self/autogroup').read()}"
    telling += "; open(sys.argv[1] + '/events.jsonl', 'a').write(json.dumps(told) + chr(10))"
    with Child(python(telling, tmp_path), tmp_path, nice=7) as child:
        until(lambda: not child.running)
        told = list(child.events())
    assert told[0]["nice"] == min(19, os.nice(0) + 7)
    assert told[0]["group"].split()[-1] == str(told[0]["nice"])
