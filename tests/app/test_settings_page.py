"""One list of all settings, and no guide that names one which does not exist."""

import re
from pathlib import Path

import pytest

from app.reference.settings_page import docstrings
from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "settings.md").read_text()
NAMES = {f"DESCRY_{name.upper()}" for name in Settings.model_fields}
# Read by the training package, by Compose and its proxies, by the tests: none of them is a setting of the service.
ELSEWHERE = re.compile(r"DESCRY_(DESCRIBE|TEST_|FUZZ_|CHAOS_|OVERLOAD_S|SUPERVISED|SITE|TLS|UPSTREAMS|CPUS|MEMORY\b)")
GUIDES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").iterdir()))
    if path.is_file()
]


def test_every_setting_has_its_row_and_says_what_it_is() -> None:
    rows = re.findall(r"^\| `(DESCRY_\w+)` \| .+ \| (.+) \|$", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == NAMES
    assert len(rows) == len(NAMES)
    assert all(len(text) > 15 for _, text in rows)
    assert set(docstrings()) == set(Settings.model_fields)


def test_the_defaults_can_be_read() -> None:
    assert "| `DESCRY_MAX_UPLOAD_BYTES` | `20971520` (20 MiB) |" in PAGE
    assert "| `DESCRY_QUERY_KEEP_S` | `604800` |" in PAGE
    assert "One of `text`, `json`." in PAGE
    assert "(at least 0.05, at most 1)" in PAGE


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_settings_that_guides_name_exist(guide: Path) -> None:
    named = {name for name in re.findall(r"DESCRY_[A-Z0-9_]+\b", guide.read_text()) if not ELSEWHERE.match(name)}
    assert named - NAMES == set()
