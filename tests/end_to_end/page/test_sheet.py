"""A sheet of results in a real browser, from the server and from a disk: styled, with its pictures, and inert."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from tests.app.test_ingest_folder import write_manifest
from tests.app.toy import picture, toy_checkpoint
from tests.end_to_end.page.conftest import HOSTILE
from tests.served import serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path / "data", device="cpu")
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy"), "toy").id)
        for number in range(3):
            picture(tmp_path / "p" / f"{number}.jpg", "red", "blue", shade=3 * number)
        entries: list[dict[str, object]] = [
            {"file": f"{n}.jpg", "identity": f"{n}{HOSTILE}", "camera": HOSTILE} for n in range(3)
        ]
        write_manifest(tmp_path / "p", entries)
        list(core.ingest().run(open_source(tmp_path / "p")))
    with serving(settings) as found:
        yield found


def look(page: Page, address: str) -> tuple[list[str], list[str]]:
    """Opens a sheet; what it asked for beside itself, and what the browser complained of."""
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(address)
    return [url for url in asked if url != address and not url.startswith("data:")], complaints


def test_a_sheet_stands_alone(server: str, chromium: Browser, tmp_path: Path) -> None:
    asked = {"query": f"a red coat {HOSTILE}", "purpose": HOSTILE}
    query_id = httpx.post(f"{server}/v1/search/text", json=asked, timeout=60).json()["query_id"]
    address = f"{server}/v1/queries/{query_id}/results?format=html"
    (tmp_path / "sheet.html").write_bytes(httpx.get(address, timeout=60).content)
    for place in (address, (tmp_path / "sheet.html").as_uri()):
        page = chromium.new_page()
        assert look(page, place) == ([], [])
        assert page.title() == f"Descry: results of query {query_id[:12]}"
        widths = page.locator("img").evaluate_all("images => images.map((image) => image.naturalWidth)")
        assert len(widths) == 3
        assert all(width > 0 for width in widths)
        border = page.locator(".notice").evaluate("(element) => getComputedStyle(element).borderTopWidth")
        assert border == "2px"
        assert HOSTILE in page.locator("dd").first.inner_text()
        page.close()
