"""The count of inputs of each target, at the end of a run."""

import pytest
from _pytest.terminal import TerminalReporter

from tests.contract.conftest import database_url, postgres_server

__all__ = ["database_url", "postgres_server"]


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    told = [(report.nodeid, text) for report in reports for name, text in report.user_properties if name == "fuzz"]
    if told:
        terminalreporter.section("fuzzing")
    for node, text in told:
        terminalreporter.write_line(f"{node.split('::')[-1]}: {text}")


@pytest.fixture
def record(record_property: "pytest.FixtureRequest") -> object:
    return record_property
