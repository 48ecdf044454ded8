"""The page of a server that blurs heads: every picture that a real browser asks for is blurred, and it says so."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from app.core import opened
from app.database.tables import Image
from app.settings import Settings
from tests.app.heads import head_is_gone
from tests.app.heads import opened as picture_of
from tests.end_to_end.page.conftest import IMAGES, Visiting, with_demo_model
from tests.served import serving

_PICTURE = re.compile(r"/v1/images/(\d+)/(file|thumbnail)\b.*$")
"""With whatever the page asks for beside it."""


@pytest.fixture(scope="module")
def blurring(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(data_dir=tmp_path_factory.mktemp("blurred"), device="cpu", blur_faces=True)
    with_demo_model(settings, people)
    return settings


@pytest.fixture(scope="module")
def server(blurring: Settings) -> Iterator[str]:
    with serving(blurring) as address:
        yield address


def test_no_head_reaches_the_browser(blurring: Settings, server: str, visits: Visiting) -> None:
    with opened(blurring) as core, core.database.read() as session:
        originals = {row.id: core.store.read(row.store_name) or b"" for row in session.scalars(select(Image))}
    with visits(server) as visit:
        visit.go("/?q=a+red+coat+and+black+trousers")
        expect(visit.page.locator("#gallery")).to_contain_text("heads are blurred")
        visit.page.locator(".card .open").first.click()
        expect(visit.page.get_by_role("dialog").locator("figure img")).to_have_count(IMAGES)
        visit.wait_for_answers()
    asked = {(found[2], int(found[1]), found[0]) for url in visit.requested if (found := _PICTURE.search(url))}
    assert {kind for kind, _, _ in asked} == {"file", "thumbnail"}
    assert len(asked) >= 2 * IMAGES
    for _, image_id, path in asked:
        assert head_is_gone(picture_of(httpx.get(server + path, timeout=60).content), picture_of(originals[image_id]))
