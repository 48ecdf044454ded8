"""A real browser before a real server: nothing may leave the host, and nothing may complain unseen."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

from app.commands.intake import run_ingest
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.browser import FLAGS
from models.checkpoint import DEMO
from tests.served import serving
from tests.waiting import LIMIT_S
from training.synthetic.gallery import GalleryConfig, write_gallery

IDENTITIES, IMAGES, FIRST_PAGE = 26, 3, 24
QUERY = "a woman in a red coat and black trousers"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
_AXE = """() => axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 160)).join(" | ")}`))"""

_LOADED = """() => [...document.querySelectorAll("img")].every((image) => {
  const { top, bottom, width } = image.getBoundingClientRect();
  return image.complete || width === 0 || bottom < 0 || top > innerHeight;
})"""


@dataclass
class Visit:
    """A page, everything that it asked for, and everything that it complained of."""

    page: Page
    server: str
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)
    under_way: set[Request] = field(default_factory=set)

    def search(self, query: str) -> None:
        self.page.get_by_label("Describe the person").fill(query)
        self.page.keyboard.press("Enter")

    def go(self, address: str) -> None:
        self.page.goto(f"{self.server}{address}")

    @property
    def title(self) -> Locator:
        """Above the results."""
        return self.page.locator(".summary h2")

    @property
    def cards(self) -> Locator:
        return self.page.locator(".card:not(.blank)")

    def wait_for_answers(self) -> None:
        """Until every image that is to be loaded is there, and every request of the page has been answered.

        `networkidle` does not say so: it is told once of a document, and is over before anything is pressed in it.
        """
        # Images that are far from the screen are loaded when somebody scrolls there; they have no request.
        self.page.wait_for_function(_LOADED)
        deadline = time.monotonic() + LIMIT_S
        while self.under_way:
            assert time.monotonic() < deadline, [request.url for request in self.under_way]
            self.page.wait_for_timeout(20)
        self.page.evaluate("() => new Promise((done) => setTimeout(done))")  # what was read is acted upon by then

    def check_accessible(self) -> None:
        """What is shown now, by axe-core: nothing serious, in either scheme."""
        self.page.evaluate(AXE_SCRIPT)
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            self.page.wait_for_function("() => document.getAnimations().every((one) => one.playState !== 'running')")
            assert self.page.evaluate(_AXE) == []
        self.page.emulate_media(color_scheme="light")

    def hear(self, message: ConsoleMessage) -> None:
        # The browser itself logs every refusal that the page then explains: that is no fault of the page.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def follow(self, request: Request) -> None:
        self.requested.append(request.url)
        self.under_way.add(request)

    def read_policy(self, headers: dict[str, str]) -> None:
        self.policies.append(headers.get("content-security-policy", ""))


class Held:
    """The first request to an address is held until it is let go; those after it are not."""

    def __init__(self, page: Page, address: str | re.Pattern[str]) -> None:
        self._page, self._routes = page, list[Route]()
        page.route(address, lambda route: self._routes.append(route), times=1)

    def wait(self) -> Route:
        """Until it has been made."""
        deadline = time.monotonic() + LIMIT_S
        while not self._routes:
            assert time.monotonic() < deadline, "it was not asked for"
            self._page.wait_for_timeout(10)  # a sleep would keep the route from being told
        return self._routes[0]

    def let_go(self) -> None:
        """To the server."""
        self.wait().continue_()

    def answer(self, body: object) -> None:
        self.wait().fulfill(json=body)


def synthetic_people(folder: Path) -> Path:
    """A small gallery; the first person, the camera and the file have names that try to be markup."""
    write_gallery(GalleryConfig(IDENTITIES, IMAGES, seed=3, workers=1), folder)
    manifest = folder / "manifest.jsonl"
    rows: list[dict[str, Any]] = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows[:IMAGES]:
        old = folder / row["file"]
        # A slash would end the name of a file.
        row["file"] = f"images/{HOSTILE.replace('/', '')}{old.name}"
        old.rename(folder / row["file"])
        row |= {"identity": HOSTILE, "camera": HOSTILE, "description": HOSTILE, "attributes": {HOSTILE: HOSTILE}}
    rows[-1] = {"file": rows[-1]["file"]}  # nothing is known of this one
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_people(tmp_path_factory.mktemp("page") / "people")


def with_demo_model(settings: Settings, people: Path | None = None) -> None:
    """Make the shipped version active, and take people in."""
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, DEMO, "demo").id)
        if people is not None:
            assert run_ingest(core, open_source(people))["ingested"] == IDENTITIES * IMAGES


@pytest.fixture(scope="module")
def server(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("page-data"), device="cpu")
    with_demo_model(settings, people)
    with serving(settings) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = "no Chromium on this machine: the page is not tested (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    expect.set_options(timeout=1000 * LIMIT_S)  # its own five seconds are few on a machine that is busy
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, server: str) -> Iterator[Visit]:
    """A fresh visitor; afterwards nothing may have left the host, and nothing may have gone wrong unseen."""
    context: BrowserContext = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin")
    visit = Visit(context.new_page(), server)
    visit.page.set_default_timeout(1000 * LIMIT_S)
    context.on("request", visit.follow)
    for end in ("requestfinished", "requestfailed"):
        context.on(end, lambda request: visit.under_way.discard(request))
    visit.page.on("console", visit.hear)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("response", lambda answer: visit.read_policy(answer.headers) if answer.url.endswith("/") else None)
    yield visit
    context.close()
    assert [url for url in visit.requested if not url.startswith((f"{server}/", f"blob:{server}/"))] == []
    assert visit.complaints == []
    for policy in visit.policies:
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


Visiting = Callable[[str], AbstractContextManager[Visit]]


@pytest.fixture(scope="session")
def visits(chromium: Browser) -> Visiting:
    return partial(visiting, chromium)


@pytest.fixture
def visit(chromium: Browser, server: str) -> Iterator[Visit]:
    with visiting(chromium, server) as visit:
        visit.page.goto(server)
        expect(visit.page.get_by_label("Describe the person")).to_be_visible()  # the page asks first who it is for
        yield visit


def picture_of(people: Path, number: int) -> Path:
    """A picture of the person with a number (from 1)."""
    return sorted((people / "images").glob(f"P-{number:04d}_*.jpg"))[0]


def expect_title(visit: Visit, words: str) -> None:
    """The results of a search are there, with all cards of the first page."""
    expect(visit.title).to_contain_text(words)
    expect(visit.page.locator('.results[aria-busy="true"], .cards[aria-busy="true"]')).to_have_count(0)
