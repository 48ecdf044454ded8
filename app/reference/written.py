"""What is written from the code and kept in the repository: `python -m app.reference` renews it.

* `docs/openapi.json`, the document, with sorted keys;
* `docs/settings.md`, every setting;
* `descry_client/models.py`, its schemas as typed models;
* `descry_client/_sync/`, the blocking client, which is `descry_client/_async/` without its waiting.

A test compares all of them with what this module would write now.
"""

import json
import re
from pathlib import Path
from typing import Any

from app.main import create_app
from app.reference.models import models_module
from app.reference.settings_page import settings_page
from app.settings import Settings

COMMAND = "python -m app.reference"
_ROOT = Path(__file__).parent.parent.parent
_CLIENT = "descry_client"
_WITHOUT_WAITING = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsyncIterator, Iterable, Iterator\b", "Iterable, Iterator"),
    (r"\basynccontextmanager, contextmanager\b", "contextmanager"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync_tools\b", "sync_tools"),
    (r"\b_async\b", "_sync"),
    (r"\baclose\b", "close"),
    (r"\baiter_", "iter_"),
    (r"\baread\b", "read"),
    (r"__a(enter|exit)__", r"__\1__"),
)


def document() -> dict[str, Any]:
    """The OpenAPI document. Nothing in it depends on settings or data."""
    return create_app(Settings()).openapi()


def written(root: Path = _ROOT) -> dict[Path, str]:
    """Every written file by its place, with the text that it should have."""
    found = document()
    files = {
        root / "docs" / "openapi.json": json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        root / "docs" / "settings.md": settings_page(),
        root / _CLIENT / "models.py": models_module(found),
    }
    for path in sorted((root / _CLIENT / "_async").glob("*.py")):
        files[root / _CLIENT / "_sync" / path.name] = without_waiting(path.read_text())
    return files


def without_waiting(text: str) -> str:
    """The blocking form of a module that was written with async and await."""
    for pattern, put in _WITHOUT_WAITING:
        text = re.sub(pattern, put, text)
    return text
