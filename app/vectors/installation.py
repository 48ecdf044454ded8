"""What must be true of the FAISS that is installed, and of the process that it runs in."""

from functools import cache
from importlib import metadata

from threadpoolctl import threadpool_limits

from app.errors import FaissConflictError


def check_installation() -> None:
    """Refuse to run on two FAISS builds that overwrote each other's files.

    Raises:
        FaissConflictError: faiss-cpu and faiss-gpu are both installed.
    """
    builds = [name for name in ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12") if _installed(name)]
    if len(builds) > 1:
        raise FaissConflictError(
            f"{' and '.join(builds)} are both installed, and they own the same files; uninstall all of them, then "
            "install exactly one: the extra `cpu` or the extra `gpu`"
        )


@cache
def keep_blas_to_one_thread() -> None:
    """The products here are small, and each would wake a thread on every core, which then spins while it waits.

    Beside a busy worker that cost a server 190 ms of processor time for each search instead of 9, and the worker two
    thirds of its speed. It is meant for the whole process: nothing else in it uses BLAS for long.
    """
    threadpool_limits(1, user_api="blas")


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
