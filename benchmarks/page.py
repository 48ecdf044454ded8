"""`python -m benchmarks.page`: the page in a real Chromium, on 10,000 images: how soon a first result is on the screen
against the API's own time, and how smoothly all of them scroll.

The first result is the moment at which the browser says that it painted the first card (Element Timing). The API's
time is that of the same request as the same browser measured it (Resource Timing), from its start to the last byte.
What the browser itself takes to paint is measured beside it: a document that is empty otherwise asks the same and shows
one line of the answer. Frames are those that `requestAnimationFrame` was called for while a mouse wheel turned from the
first to the last card.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from playwright.sync_api import Browser, Page, ViewportSize
from rich.console import Console

from app.commands.intake import run_ingest
from app.gallery.sources import open_source
from app.settings import Settings
from benchmarks.browser import chromium, served
from benchmarks.figures import Figure, median
from benchmarks.gallery import make_gallery, open_with_model
from benchmarks.table import figure_table

_QUERIES = (
    "a woman with long brown hair in a red jacket and blue jeans",
    "a man wearing a grey hoodie and black trousers, carrying a black backpack",
    "a woman in a white shirt, a green skirt and brown boots",
    "an elderly man in a dark coat with a hat and a suitcase",
)
_WARM = 4
_FRAME_MS = 1000 / 60
_WATCH = """() => {
  window.painted = [];
  new PerformanceObserver((list) => window.painted.push(...list.getEntries().map((entry) => entry.renderTime)))
    .observe({ type: "element", buffered: false });
}"""
_TIMES = """() => {
  const asked = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/v1/search/text")).at(-1);
  const made = performance.getEntriesByName("descry:shown").at(-1).startTime - asked.responseEnd;
  return { api: asked.responseEnd - asked.startTime, start: asked.startTime, made };
}"""
_BARE = """async (query) => {
  performance.clearResourceTimings();
  const body = JSON.stringify({ query, limit: 24, images_per_identity: 4, group_by: "identity" });
  const painted = new Promise((resolve) => new PerformanceObserver((list) => resolve(list.getEntries()[0].renderTime))
    .observe({ type: "element", buffered: false }));
  const headers = { "Content-Type": "application/json" };
  const response = await fetch("/v1/search/text", { method: "POST", headers, body });
  const line = document.createElement("p");
  line.setAttribute("elementtiming", "first-result");
  line.textContent = String((await response.json()).candidates[0].identity.id);
  document.body.replaceChildren(line);
  const shown = await painted;
  const asked = performance.getEntriesByType("resource").at(-1);
  return { api: asked.responseEnd - asked.startTime, shown: shown - asked.startTime };
}"""
_COUNT = """() => {
  const state = (window.scrolled = { frames: [], tasks: [], on: true, last: performance.now() });
  new PerformanceObserver((list) => state.tasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: "longtask" });
  const next = (now) => {
    state.frames.push(now - state.last);
    state.last = now;
    if (state.on) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}"""
_ENDED = """() => document.querySelector(".pages + .foot")?.textContent.startsWith("All ")
  && scrollY + innerHeight >= document.documentElement.scrollHeight - 4"""
_SHIFTS = """() => {
  window.shifts = 0;
  const ofCard = ({ node }) => (node?.nodeType === 1 ? node : node?.parentElement)?.closest(".card");
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (entry.sources.some(ofCard)) window.shifts += entry.value;
  })).observe({ type: "layout-shift", buffered: true });
}"""


def measure_first_result(browser: Browser, server: str, rounds: int) -> list[Figure]:
    """Medians over the same queries, in turn."""
    size: ViewportSize = {"width": 1440, "height": 900}
    page, bare = browser.new_page(viewport=size), browser.new_page(viewport=size)
    bare.goto(f"{server}/healthz")
    page.goto(server)
    page.get_by_label("Describe the person").wait_for()
    page.evaluate(_WATCH)
    seen: dict[str, list[float]] = {name: [] for name in ("shown", "api", "own", "made", "bare shown", "bare api")}
    for number in range(rounds + _WARM):
        query = _QUERIES[number % len(_QUERIES)]
        page.bring_to_front()  # a tab behind another one paints nothing
        page.evaluate("() => { window.painted = []; performance.clearResourceTimings(); performance.clearMarks(); }")
        page.get_by_label("Describe the person").fill(query)
        page.keyboard.press("Enter")
        page.wait_for_function("() => window.painted.length > 0")
        times = page.evaluate(_TIMES)
        seen["shown"].append(page.evaluate("() => window.painted[0]") - times["start"])
        seen["api"].append(times["api"])
        seen["made"].append(times["made"])
        seen["own"].append(float(page.locator(".took").inner_text().split(" ms")[0].replace(",", "")))
        page.wait_for_load_state("networkidle")
        bare.bring_to_front()
        least = bare.evaluate(_BARE, query)
        seen["bare shown"].append(least["shown"])
        seen["bare api"].append(least["api"])
    page.close()
    bare.close()
    found = {name: median(times[_WARM:]) for name, times in seen.items()}
    after, fewest = (max(found[f"{who}shown"] - found[f"{who}api"], 0.1) for who in ("", "bare "))
    limit = "a line of the answer in an empty document"
    return [
        Figure("first result on the screen", found["shown"], "ms", found["api"], "the API's answer, in the browser"),
        Figure("first result on the screen", found["shown"], "ms", found["bare shown"], limit),
        Figure("the API's answer, in the browser", found["api"], "ms", found["own"], "the answer's own took_ms"),
        Figure("from answer to cards in the document", found["made"], "ms", _FRAME_MS, "one frame at 60 Hz"),
        Figure("from answer to screen", after, "ms", fewest, limit),
    ]


def measure_scrolling(browser: Browser, server: str, images: int) -> list[Figure]:
    """Frames while the mouse wheel turns through a card for each image, and back up through all of them."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{server}/?q=a+person+in+black+trousers&group=image")
    page.locator(".card h3").first.wait_for()
    page.evaluate(_SHIFTS)
    page.evaluate(_COUNT)
    _wheel(page, 1200, _ENDED)
    down = _counted(page)
    cards = int(page.evaluate("() => Number(document.querySelector('.pages').lastChild.lastChild?.value ?? 0)"))
    if cards != images:
        raise RuntimeError(f"{cards} of {images} cards were scrolled through")
    elements = int(page.evaluate("() => document.querySelectorAll('*').length"))
    page.evaluate(_COUNT)
    _wheel(page, -1200, "() => scrollY === 0")
    up = _counted(page)
    shifts = float(page.evaluate("() => window.shifts"))
    page.close()
    figures = []
    for way, seen in (("down, loading", down), ("up again", up)):
        frames = sorted(seen["frames"])
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            value = frames[int(part * (len(frames) - 1))]
            figures.append(Figure(f"frame while scrolling {way}, {name}", value, "ms", _FRAME_MS, "60 Hz"))
        longest = max(seen["tasks"], default=0.0)
        figures.append(Figure(f"longest task while scrolling {way}", longest, "ms", 50.0, "what counts as long"))
        share = 100 * sum(seen["tasks"]) / sum(frames)
        figures.append(Figure(f"time in long tasks while scrolling {way}", share, "%", 100.0, "all of the time"))
    figures.append(Figure("elements in the page at the end", elements, "", 25.0 * images, "if all cards stayed"))
    figures.append(Figure("layout shift of cards, of it all", shifts, "", 0.1, "what counts as good"))
    return figures


def _wheel(page: Page, step: int, end: str) -> None:
    page.mouse.move(700, 600)
    for _ in range(20_000):
        page.mouse.wheel(0, step)
        page.wait_for_timeout(30)
        if page.evaluate(end):
            return
    raise RuntimeError("the end was never reached")


def _counted(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("() => { window.scrolled.on = false; return window.scrolled; }")
    found["frames"] = found["frames"][1:]
    return found


def run(
    identities: Annotated[int, typer.Option(help="People in the gallery, four images each.")] = 2500,
    rounds: Annotated[int, typer.Option(help="Searches that are measured.")] = 40,
    data: Annotated[Path | None, typer.Option(help="Keep gallery and data here, and use them again.")] = None,
    scroll: Annotated[bool, typer.Option(help="Scroll through all images too.")] = True,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("runs/benchmark-page.json"),
) -> None:
    """Measure the page in Chromium."""
    with tempfile.TemporaryDirectory(prefix="descry-bench-") as temporary:
        folder = data or Path(temporary)
        settings = Settings(data_dir=folder / "data")
        if not settings.data_dir.is_dir():
            gallery = folder / "gallery"
            if not gallery.is_dir():
                make_gallery(gallery, identities)
            core = open_with_model(settings.data_dir)
            run_ingest(core, open_source(gallery))
            core.close()
        with served(settings) as server, chromium() as browser:
            figures = measure_first_result(browser, server, rounds)
            if scroll:
                figures += measure_scrolling(browser, server, 4 * identities)
    Console().print(figure_table(figures))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"figures": [figure.to_dict() for figure in figures]}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(run)
