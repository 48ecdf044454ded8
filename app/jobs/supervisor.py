"""Runs one command and sees to it that nothing of it outlives whoever asked for it. Standard library only; a script.

    python -I -S supervisor.py LOCK EVENTS STDERR GRACE NICE MEMORY COMMAND...

The command runs in the supervisor's process group, which is a session of its own. The group ends when

* the command has ended (its exit status then goes to standard output, negative for a signal),
* standard input closes: whoever asked for it wants it to stop, or is dead, even by kill -9. SIGTERM, then after GRACE
  seconds SIGKILL.

Either way the last act is SIGKILL to the whole group, so that what the command started goes too. If the supervisor
itself is killed, the system kills the command (PR_SET_PDEATHSIG; set here, where one thread forks and stays, and not in
a worker, whose threads come and go: the signal comes when the forking thread ends).

LOCK is held until every process that inherited it is gone: two runs of one folder never overlap, whatever was killed.
Once it has the lock it says on standard output how long the files EVENTS and STDERR are: what follows is of this run.
"""

import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.1
_OOM_SCORE = "500"


def main() -> None:
    lock_path, events_path, stderr_path, grace, nice, memory, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: None)  # meant for the command, and not ignored: that would be inherited
    signal.signal(signal.SIGINT, lambda *_: None)
    os.set_blocking(0, False)
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    while not _locked(lock):
        if _unwanted():
            return
        time.sleep(_POLL_S)
    os.write(1, f"{_end_of_lines(events_path)} {_end_of_lines(stderr_path)}\n".encode())
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        niceness = os.nice(int(nice))
        # Where sessions are scheduled as groups, a session counts as much as the server's, however nice what is in it.
        _tell_system("/proc/self/autogroup", str(niceness))
        if int(memory):  # of private memory: address space would count what CUDA and files only reserve
            resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
        _tell_system("/proc/self/oom_score_adj", _OOM_SCORE)  # if memory ends, this goes and not the server

    with open(stderr_path, "ab") as errors:  # noqa: PTH123
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(lock,),
            preexec_fn=prepare,
        )
    code = _watch(child, float(grace))
    if code is not None:
        os.write(1, f"{code}\n".encode())
    os.killpg(0, signal.SIGKILL)


def _watch(child: "subprocess.Popen[bytes]", grace: float) -> "int | None":
    while child.poll() is None:
        if _unwanted():
            os.killpg(0, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            return None
        time.sleep(_POLL_S)
    return child.returncode


def _end_of_lines(path: str) -> int:
    """Size of a file of lines; one that a kill cut short is ended, or the next line would be lost with it."""
    with open(path, "a+b") as handle:  # noqa: PTH123
        size = handle.seek(0, os.SEEK_END)
        if size:
            handle.seek(size - 1)
            if handle.read(1) != b"\n":
                size += handle.write(b"\n")
        return size


def _tell_system(path: str, value: str) -> None:
    try:
        with open(path, "w") as handle:  # noqa: PTH123  no pathlib between fork and exec
            handle.write(value)
    except OSError:
        pass


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unwanted() -> bool:
    try:
        return os.read(0, 1) == b""
    except BlockingIOError:
        return False


if __name__ == "__main__":
    main()
