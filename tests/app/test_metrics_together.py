"""Metrics of several processes as one answer, over real sockets."""

import socket
import uuid
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.metrics.together import Together, merged


def counted(place: int, asked: int) -> bytes:
    registry = CollectorRegistry()
    counter = Counter("asked", "Some \\ words.", ("route", "process"), registry=registry)
    counter.labels("a line\nand another", str(place)).inc(asked)
    Histogram("took", "Seconds.", ("process",), buckets=(1,), registry=registry).labels(str(place)).observe(asked)
    return generate_latest(registry)


def series(text: bytes) -> dict[str, dict[str, float]]:
    """Values by family and by process; each family must be there once."""
    families = list(text_string_to_metric_families(text.decode()))
    assert len({one.name for one in families}) == len(families)
    return {
        one.name: {s.labels["process"]: s.value for s in one.samples if s.name in (one.name, f"{one.name}_total")}
        for one in families
    }


def test_each_family_is_there_once_with_the_series_of_all() -> None:
    found = merged([counted(0, 3), counted(1, 4)])
    assert series(found)["asked"] == {"0": 3, "1": 4}
    assert found.count(b"# HELP took Seconds.") == found.count(b"# TYPE took histogram") == 1
    assert merged([text := counted(0, 3)]) == text


def test_whoever_is_asked_tells_of_all_and_says_who_did_not_answer() -> None:
    name = f"descry-test-{uuid.uuid4().hex}"
    first, second = (Together(name, place, 3, partial(counted, place, place + 1)) for place in (0, 1))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dying:  # ends in the middle of its answer
        dying.bind(f"\0{name}-2")
        dying.listen()
        dying.close()
        for one in (first, second):
            found = series(one.text())
            assert found["asked"] == {"0": 1, "1": 2}
            assert found["descry_process_up"] == {"0": 1, "1": 1, "2": 0}
    second.close()
    found = series(first.text())
    assert found["asked"] == {"0": 1}
    assert found["descry_process_up"] == {"0": 1, "1": 0, "2": 0}
    first.close()
    again = Together(name, 0, 1, lambda: counted(0, 5))  # the name is free again
    assert series(again.text())["asked"] == {"0": 5}
    again.close()


def test_half_an_answer_counts_as_none() -> None:
    name = f"descry-test-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as half:
        half.bind(f"\0{name}-1")
        half.listen()
        only = Together(name, 0, 2, lambda: counted(0, 1))

        def give() -> bytes:
            client, _ = half.accept()
            with client:
                client.sendall((10_000).to_bytes(8) + counted(1, 1))
            return b""

        asking = Together(f"{name}-asking", 0, 1, give)  # its thread runs `give` when somebody connects
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.connect(f"\0{name}-asking-0")
            found = series(only.text())
        assert found["asked"] == {"0": 1}
        assert found["descry_process_up"] == {"0": 1, "1": 0}
        asking.close()
        only.close()
