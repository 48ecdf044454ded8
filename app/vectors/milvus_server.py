"""One Milvus: a connection that is made when it is needed, and its errors as ours.

A path instead of an address means Milvus Lite, which then runs inside this process. It reads and writes through one
lock here: while it moves new rows to disk, a read beside that would miss them.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import (
    VectorEngineMissingError,
    VectorStoreDeniedError,
    VectorStoreError,
    VectorStoreInUseError,
    VectorStoreLostError,
    VectorStoreReleasedError,
    VectorStoreUnreachableError,
)

TIMEOUT_S, SLOW_S = 10.0, 600.0
"""Longest wait for an answer; and for what takes long in a large collection, such as loading it."""
_AFTER_FAILURE_S = 2.0
"""Seconds after a failure to reach it within which nobody tries again."""
_UNREACHABLE = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ConnectError", "MilvusUnavailableException", "2"}
_DENIED = {"UNAUTHENTICATED", "PERMISSION_DENIED", "1400", "1401"}
_LOST, _RELEASED = {"100"}, {"101"}
"""What pymilvus and gRPC call these: a code of theirs, or the name of a class."""


class Milvus:
    """A client of one Milvus. Safe for use by many threads.

    Args:
        uri: http(s)://host:port of a cluster, or a path for Milvus Lite.
        token: `user:password` or an API key; empty for none.
    """

    def __init__(self, uri: str, token: str = "") -> None:
        self.place = uri
        self._token = token
        self._connecting = threading.Lock()
        self._client: Any = None
        self._lite: _Lite | None = None
        self._away, self._again_at = False, 0.0
        self._probing = threading.Lock()

    @property
    def lite(self) -> bool:
        """Whether it is Milvus Lite in this process."""
        return "://" not in self.place

    def ask(self, operation: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:  # noqa: ANN401
        """Call an operation of `pymilvus.MilvusClient`.

        Args:
            timeout: seconds, if not the usual `TIMEOUT_S`; pymilvus tries again and again until they are over.

        Raises:
            VectorStoreError: it failed; a subclass says how, where that is known.
            VectorEngineMissingError, VectorStoreInUseError: see `_connected`.
        """
        with self._typed():
            client = self._connected()
            timeout = TIMEOUT_S if timeout is None else timeout
            if self._lite is None:
                return getattr(client, operation)(*args, timeout=timeout, **kwargs)
            with self._lite.turn:
                return getattr(client, operation)(*args, timeout=timeout, **kwargs)

    def close(self) -> None:
        """End the connection, and Milvus Lite with it if nobody else in this process uses it. It may be used again."""
        with self._connecting:
            client, self._client = self._client, None
            lite, self._lite = self._lite, None
        if client is not None:
            client.close()
        if lite is not None:
            lite.leave()

    def _connected(self) -> Any:  # noqa: ANN401  pymilvus has no types
        """The client.

        Raises:
            VectorEngineMissingError: pymilvus or milvus-lite is not installed.
            VectorStoreInUseError: another process has the files of Milvus Lite open.
        """
        with self._connecting:
            if self._client is None:
                client_class = _library()
                if self.lite:
                    self._lite = _Lite.enter(Path(self.place))
                address = self.place if self._lite is None else self._lite.address
                try:
                    self._client = client_class(address, token=self._token, timeout=TIMEOUT_S, dedicated=True)
                except BaseException:
                    if self._lite is not None:
                        self._lite.leave()
                        self._lite = None
                    raise
            return self._client

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Errors as ours. While Milvus is away one caller at a time waits for it, and the others are told at once."""
        probing = self._away
        if probing and (time.monotonic() < self._again_at or not self._probing.acquire(blocking=False)):
            raise _unreachable(self.place)
        try:
            yield
            self._away = False
        except Exception as error:
            found = _meaning(error, self.place)
            self._away = isinstance(found, VectorStoreUnreachableError)
            self._again_at = time.monotonic() + _AFTER_FAILURE_S
            if found is None:
                raise
            raise found from error
        finally:
            if probing:
                self._probing.release()


def _library() -> Any:  # noqa: ANN401  pymilvus has no types
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise VectorEngineMissingError(
            "DESCRY_VECTOR_ENGINE is milvus, and pymilvus is not installed: pip install 'descry[milvus]'"
        ) from error
    # It logs every error with its traceback before it raises it; who handles the error decides what is said.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return MilvusClient


def _meaning(error: Exception, place: str) -> VectorStoreError | None:
    """What pymilvus or gRPC raised, as our error; None for anything that is not theirs."""
    theirs = {cls.__name__ for cls in type(error).__mro__}
    if not theirs & {"MilvusException", "RpcError"}:
        return None
    code: Any = getattr(error, "code", None)
    code = code() if callable(code) else code
    names = {getattr(code, "name", ""), str(code), *theirs}
    if names & _UNREACHABLE:
        return _unreachable(place)
    if names & _DENIED:
        return VectorStoreDeniedError(f"Milvus at {place} refuses the credentials; check DESCRY_MILVUS_TOKEN")
    if names & _LOST:
        return VectorStoreLostError(f"Milvus at {place} has lost a collection; it is loaded anew from the database")
    if names & _RELEASED:
        return VectorStoreReleasedError(f"Milvus at {place} does not hold a collection ready; try again in a moment")
    said = str(getattr(error, "message", "") or error).splitlines()
    return VectorStoreError(f"Milvus at {place} failed: {said[0] if said else type(error).__name__}")


def _unreachable(place: str) -> VectorStoreUnreachableError:
    return VectorStoreUnreachableError(
        f"Milvus at {place} does not answer; the database has every vector, and searches go on when it is back"
    )


class _Lite:
    """Milvus Lite over one folder: a server on a loopback port that all of this process shares."""

    _open: "dict[Path, _Lite]" = {}  # noqa: RUF012  one for each folder of this process
    _opening = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path, self._users = path, 0
        self.turn = threading.Lock()
        self._server, self._database, port = _start_lite(path)
        self.address = f"http://127.0.0.1:{port}"

    @classmethod
    def enter(cls, path: Path) -> "_Lite":
        """The one over a folder, started if it is not running; `leave` it when it is not needed any more."""
        path = path.resolve()
        with cls._opening:
            found = cls._open.get(path)
            if found is None:
                found = cls._open[path] = cls(path)
            found._users += 1
            return found

    def leave(self) -> None:
        with self._opening:
            self._users -= 1
            if self._users == 0:
                del self._open[self._path]
                self._server.stop(grace=2).wait()
                self._database.close()


def _start_lite(path: Path) -> tuple[Any, Any, int]:
    try:
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError
    except ImportError as error:
        raise VectorEngineMissingError(
            "DESCRY_MILVUS_URI is a path, which means Milvus Lite, and that is not installed: "
            "pip install 'descry[milvus-lite]', or name a cluster: http://host:19530"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        server, database, port = start_server_in_thread(str(path))
    except DataDirLockedError as error:
        raise VectorStoreInUseError(
            f"{path} is open in another process, and Milvus Lite allows one. Let that process do it, stop it first, or "
            f"serve the files to several: `milvus-lite server --data-dir {path} --host 127.0.0.1`, and "
            "DESCRY_MILVUS_URI=http://127.0.0.1:19530"
        ) from error
    return server, database, port
