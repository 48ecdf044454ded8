"""The page in a real browser against a real server: what people see, and what must never happen."""

import base64
import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright

from app.commands.intake import run_ingest
from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from models.checkpoint import DEMO
from training.synthetic.gallery import GalleryConfig, write_gallery

IDENTITIES, IMAGES, FIRST_PAGE = 22, 3, 18
QUERY = "a woman in a red coat and black trousers"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DROP = """([data, name, type]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  document.body.dispatchEvent(new DragEvent("dragover", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
PASTE = """([data, name, type]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], name, { type }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


@dataclass
class Visit:
    """A page, everything that it asked for, and everything that it complained of."""

    page: Page
    server: str
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def search(self, query: str) -> None:
        self.page.get_by_label("Describe the person").fill(query)
        self.page.keyboard.press("Enter")

    def hear(self, message: ConsoleMessage) -> None:
        # The browser itself logs every refusal that the page then explains: that is no fault of the page.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A server on a free port, for the length of a block."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def synthetic_people(folder: Path) -> Path:
    """A small gallery; the first person, the camera and the file have names that try to be markup."""
    write_gallery(GalleryConfig(IDENTITIES, IMAGES, seed=3, workers=1), folder)
    manifest = folder / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows[:IMAGES]:
        old = folder / row["file"]
        # A slash would end the name of a file.
        row["file"] = f"images/{HOSTILE.replace('/', '')}{old.name}"
        old.rename(folder / row["file"])
        row |= {"identity": HOSTILE, "camera": HOSTILE, "description": HOSTILE, "attributes": {HOSTILE: HOSTILE}}
    rows[-1] = {"file": rows[-1]["file"]}  # nothing is known of this one
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_people(tmp_path_factory.mktemp("page") / "people")


@pytest.fixture(scope="module")
def server(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("page-data"), device="cpu")
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, DEMO, "demo").id)
        assert run_ingest(core, open_source(people))["ingested"] == IDENTITIES * IMAGES
    with serving(settings) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = "no Chromium on this machine: the page is not tested (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, server: str) -> Iterator[Visit]:
    """A fresh visitor; afterwards nothing may have left the host, and nothing may have gone wrong unseen."""
    context: BrowserContext = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin")
    visit = Visit(context.new_page(), server)
    visit.page.set_default_timeout(8_000)
    context.on("request", lambda request: visit.requested.append(request.url))
    visit.page.on("console", visit.hear)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    yield visit
    context.close()
    assert [url for url in visit.requested if not url.startswith((f"{server}/", f"blob:{server}/"))] == []
    assert visit.complaints == []


@pytest.fixture
def visit(chromium: Browser, server: str) -> Iterator[Visit]:
    with visiting(chromium, server) as visit:
        visit.page.goto(server)
        yield visit


def picture_of(people: Path, number: int) -> Path:
    """A picture of the person with a number (from 1)."""
    return sorted((people / "images").glob(f"P-{number:04d}_*.jpg"))[0]


def test_start_says_what_there_is_to_search(visit: Visit) -> None:
    expect(visit.page.locator("#gallery")).to_have_text(
        f"{IDENTITIES + 1} identities · {IDENTITIES * IMAGES} images · model demo"
    )
    expect(visit.page.get_by_text("Candidates, not identifications", exact=True)).to_be_visible()
    visit.page.get_by_role("button", name="Search", exact=True).click()
    expect(visit.page.locator("#hint")).to_have_text("Say what the person looks like, or choose a picture.")
    assert len(visit.requested) == len(set(visit.requested))


def test_description_gives_ranked_cards(visit: Visit) -> None:
    visit.search(QUERY)
    expect(visit.page.get_by_role("heading", level=2)).to_have_text(f"{FIRST_PAGE} candidates for “{QUERY}”")
    expect(visit.page.locator(".card .rank")).to_have_text([str(rank) for rank in range(1, FIRST_PAGE + 1)])
    texts = visit.page.locator(".card .score").all_inner_texts()
    scores = [float(text.split()[-1].replace("\N{MINUS SIGN}", "-")) for text in texts]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    shown = "() => [...document.querySelectorAll('.card img')].slice(0, 6).every((image) => image.naturalWidth > 20)"
    visit.page.wait_for_function(shown)
    visit.page.get_by_role("button", name="More candidates").click()
    expect(visit.page.locator(".card")).to_have_count(IDENTITIES + 1)
    expect(visit.page.get_by_role("button", name="More candidates")).to_have_count(0)


def test_address_and_back_button_bring_a_search_back(visit: Visit) -> None:
    visit.page.goto(f"{visit.server}/?q=yellow+dress")
    heading = visit.page.get_by_role("heading", level=2)
    expect(heading).to_contain_text("“yellow dress”")
    visit.search("blue jeans")
    expect(heading).to_contain_text("“blue jeans”")
    assert visit.page.url.endswith("/?q=blue+jeans")
    visit.page.go_back()
    expect(heading).to_contain_text("“yellow dress”")
    expect(visit.page.get_by_label("Describe the person")).to_have_value("yellow dress")


def test_chosen_picture_finds_its_person(visit: Visit, people: Path) -> None:
    visit.page.locator("#file").set_input_files(picture_of(people, 5))
    expect(visit.page.get_by_role("heading", level=2)).to_contain_text("candidates for your picture")
    first = visit.page.locator(".card").first
    expect(first.locator("h3")).to_have_text("P-0005")
    expect(first.locator(".score")).to_contain_text("1.000")
    expect(visit.page.get_by_alt_text("The picture that is searched with")).to_be_visible()
    visit.page.get_by_role("button", name="Remove").click()
    expect(visit.page.locator(".card")).to_have_count(0)
    visit.page.go_back()
    expect(first.locator("h3")).to_have_text("P-0005")


@pytest.mark.parametrize("way", [DROP, PASTE], ids=["drop", "paste"])
def test_dropped_and_pasted_picture_finds_its_person(visit: Visit, people: Path, way: str) -> None:
    data = base64.b64encode(picture_of(people, 7).read_bytes()).decode()
    visit.page.evaluate(way, [data, HOSTILE, "image/jpeg"])
    expect(visit.page.locator(".card h3").first).to_have_text("P-0007")
    expect(visit.page.locator("#preview-name")).to_have_text(HOSTILE)
    assert "owned" not in visit.page.evaluate("document.title.replace(/<.*>/s, '')")


def test_that_nobody_matches_is_said(visit: Visit) -> None:
    visit.search(
        "An elderly woman with long blonde hair wears a yellow dress, an orange cardigan, green boots and a purple sun "
        "hat, and is pulling a pink suitcase."
    )
    expect(visit.page.locator(".no-match")).to_contain_text("No good match")
    visit.search("red coat")
    expect(visit.page.locator(".summary h2")).to_contain_text("red coat")
    expect(visit.page.locator(".no-match")).to_have_count(0)


def test_what_is_not_understood_is_said(visit: Visit) -> None:
    visit.search("zorp qwertz")
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text("No word of the description is known")
    expect(alert).to_contain_text("zorp, qwertz")
    visit.search("red coat zorp")
    expect(visit.page.locator(".notes")).to_contain_text("Not understood: zorp.")
    expect(alert).to_have_count(0)


def test_what_is_no_picture_is_said(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    for content, message in ((b"no picture", "Not a picture"), (b"\xff\xd8\xff" + bytes(21 << 20), "too large")):
        file.write_bytes(content)
        visit.page.locator("#file").set_input_files(file)
        expect(visit.page.get_by_role("alert")).to_contain_text(message)


def test_detail_shows_every_image_and_searches_with_one(visit: Visit) -> None:
    visit.page.goto(f"{visit.server}/?q=black+trousers")
    second = visit.page.locator(".card h3", has_text="P-00").filter(has_not_text=f"P-{IDENTITIES:04d}").nth(1)
    name = second.inner_text()
    second.get_by_role("button").press("Enter")
    dialog = visit.page.get_by_role("dialog", name=name)
    expect(dialog.locator("figure")).to_have_count(IMAGES)
    expect(dialog.locator("time").first).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    second.get_by_role("button").click()
    dialog.get_by_role("button", name="Search with this picture").first.click()
    expect(visit.page.get_by_role("heading", level=2)).to_contain_text(f"candidates for the picture of {name}")
    expect(visit.page.locator(".card h3").first).to_have_text(name)
    assert "?like=" in visit.page.url


def test_unnamed_picture_shows_what_is_known(visit: Visit) -> None:
    visit.page.goto(f"{visit.server}/?like={IDENTITIES * IMAGES}")
    card = visit.page.locator(".card").first
    expect(card.locator("h3")).to_contain_text("Unnamed")
    expect(card).to_contain_text("provisional")
    expect(card.locator(".where")).to_have_text(re.compile(r"\.(jpg|png)$"))  # where to find it, if nothing else
    card.get_by_role("button").press("Enter")
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.locator("figure")).to_have_count(1)
    text = visit.page.locator("body").inner_text()
    assert [word for word in ("null", "undefined", "NaN", "[object") if word in text] == []


def test_markup_in_names_stays_text(visit: Visit) -> None:
    visit.page.goto(f"{visit.server}/?like=1")
    card = visit.page.locator(".card").first
    expect(card.locator("img")).to_have_count(IMAGES)
    for shown in ("h3", ".camera", ".description"):
        expect(card.locator(shown)).to_have_text(HOSTILE)
    card.get_by_role("button").press("Enter")
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.locator("figure .camera")).to_have_text([HOSTILE] * IMAGES)
    expect(dialog.locator("h2")).to_have_text(HOSTILE)
    assert visit.page.locator("img[src=x], main script, dialog script").count() == 0
    dialog.get_by_role("button", name="Search with this picture").nth(1).click()
    expect(visit.page.locator("#preview-name")).to_contain_text(HOSTILE)
    assert visit.page.evaluate("document.title") != "owned"


def test_late_answer_is_never_shown(visit: Visit) -> None:
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    visit.page.route("**/v1/search/text", hold_first)
    with visit.page.expect_event("requestfailed") as failed:
        visit.search("blue jeans")
        expect(visit.page.locator(".blank").first).to_be_attached()
        visit.search("yellow dress")
    assert "blue jeans" in (failed.value.post_data or "")
    expect(visit.page.get_by_role("heading", level=2)).to_contain_text("“yellow dress”")


def test_unreachable_server_is_said_and_can_be_tried_again(visit: Visit) -> None:
    visit.page.context.set_offline(True)
    visit.search(QUERY)
    expect(visit.page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    visit.page.context.set_offline(False)
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.page.locator(".card")).to_have_count(FIRST_PAGE)


@pytest.mark.parametrize(("status", "title"), [(429, "Too many queries at once"), (503, "Not available now")])
def test_overload_says_when_to_try_again(visit: Visit, status: int, title: str) -> None:
    problem = json.dumps({"title": title, "detail": "too much to do", "code": "busy", "status": status})

    def refuse(route: Route) -> None:
        headers = {"Retry-After": "3", "Content-Type": "application/problem+json"}
        route.fulfill(status=status, headers=headers, body=problem)

    visit.page.route("**/v1/search/text", refuse)
    visit.search(QUERY)
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text(title)
    expect(alert).to_contain_text("Try again in about 3 s.")
    visit.page.unroute("**/v1/search/text")
    alert.get_by_role("button", name="Try again").click()
    expect(visit.page.locator(".card")).to_have_count(FIRST_PAGE)


def test_empty_gallery_and_missing_model_say_what_to_do(chromium: Browser, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu")
    with serving(settings) as server, visiting(chromium, server) as visit:
        visit.page.goto(f"{server}/?q=red")
        expect(visit.page.get_by_text("descry models activate ID")).to_be_visible()
    with opened(settings) as core:
        activate_version(core, register_checkpoint(core, DEMO, "demo").id)
    with serving(settings) as server, visiting(chromium, server) as visit:
        visit.page.goto(server)
        expect(visit.page.get_by_text("descry ingest FOLDER")).to_be_visible()
        visit.search(QUERY)
        expect(visit.page.get_by_role("heading", name="The gallery is empty")).to_be_visible()
        expect(visit.page.locator(".card")).to_have_count(0)


def test_narrow_screen_never_scrolls_sideways(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 320, "height": 640})
    visit.page.goto(f"{visit.server}/?like=1")
    expect(visit.page.locator(".card h3").first).to_have_text(HOSTILE)
    width = "document.documentElement.scrollWidth"
    assert visit.page.evaluate(width) <= 320
    visit.page.locator(".card").first.get_by_role("button").press("Enter")
    expect(visit.page.locator("dialog figure")).to_have_count(IMAGES)
    assert visit.page.evaluate("document.querySelector('dialog').scrollWidth") <= 320
