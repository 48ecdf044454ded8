"""`python -m benchmarks.screenshots http://127.0.0.1:8000`: the pictures of docs/screenshots, from a running product.

The server is one that `descry demo` serves, with its worker: pictures are uploaded to it, and a model is retrained.
"""

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlencode

import httpx
import typer
from PIL import Image
from playwright.sync_api import Browser, Page
from rich.console import Console

from benchmarks.browser import chromium

FOLDER = Path("docs/screenshots")
QUERY = "a woman with long blonde hair in a red coat"
MOST_BYTES = 300_000
_COLOURS = 256
_LONG_MS = 900_000
"""A retraining on a machine that has other work."""
_EPOCHS = 3


@dataclass(frozen=True)
class Shot:
    """One photograph: what is done before it is taken, and of which part of the page."""

    name: str
    act: Callable[[Page, str], None]
    size: tuple[int, int] = (1440, 940)
    scheme: Literal["light", "dark"] = "light"
    part: str | None = None


def results(page: Page, server: str) -> None:
    """A description has been searched for."""
    page.goto(f"{server}/?{urlencode({'q': QUERY})}")
    page.locator(".card .open").first.wait_for()


def narrowed(page: Page, server: str) -> None:
    """What the person is without, two cameras, and the filters open."""
    asked = {"q": "a man in a dark jacket", "not": "a backpack", "purpose": "case 17"}
    cameras = urlencode([("camera", "cam-03 station hall"), ("camera", "cam-06 platform")])
    page.goto(f"{server}/?{urlencode(asked)}&{cameras}")
    page.locator(".card .open").first.wait_for()
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("group", name="Cameras").wait_for()


def audit(page: Page, server: str) -> None:
    """What was done until now."""
    page.goto(f"{server}/?view=admin&part=audit")
    page.get_by_role("button", name="Verify").wait_for()
    page.wait_for_load_state("networkidle")


def detail(page: Page, server: str) -> None:
    """The first candidate, with heat for one thing of the description."""
    results(page, server)
    page.locator(".card .open").first.click()
    page.get_by_role("button", name="a red coat").click()
    page.locator("figure img[src^=blob]").nth(1).wait_for()
    page.wait_for_load_state("networkidle")


def picture(page: Page, server: str) -> None:
    """A picture with a box in it, together with words."""
    results(page, server)
    pixels = httpx.get(f"{server}/v1/images/11/file").raise_for_status().content
    others = httpx.get(f"{server}/v1/images/15/file").raise_for_status().content
    page.locator("#file").set_input_files(
        {"name": "platform.png", "mimeType": "image/png", "buffer": _pair(pixels, others)}
    )
    box = page.get_by_role("group", name="Part of the picture")
    box.focus()
    for key, times in (("Shift+ArrowLeft", 26), ("Shift+ArrowUp", 2), ("ArrowRight", 1), ("ArrowDown", 1)):
        for _ in range(times):
            page.keyboard.press(key)
    words = httpx.get(f"{server}/v1/images/11").raise_for_status().json()["description"]
    page.get_by_label("Describe the person").fill(words)
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("heading", name="and your picture").wait_for()


def upload(page: Page, server: str) -> None:
    """An upload in which not all files are pictures."""
    page.goto(f"{server}/?view=gallery")
    # The same pictures in the same collection would be duplicates the next time.
    known = {one["name"] for one in httpx.get(f"{server}/v1/collections").raise_for_status().json()["collections"]}
    name = next(name for name in (f"platform-{number}" for number in count(1)) if name not in known)
    page.get_by_label("Into the collection").fill(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(20, 32):
            content = httpx.get(f"{server}/v1/images/{number}/file").raise_for_status().content
            (folder / f"north-{number:04d}.jpg").write_bytes(content)
        (folder / "north-0031 (copy).jpg").write_bytes(content)
        (folder / "notes of the night shift.jpg").write_text("no picture")
        (folder / "north-0040.jpg").write_bytes(content[: len(content) // 2])
        (folder / "north-0041.png").write_bytes(b"")
        page.locator("#upload-files").set_input_files(sorted(folder.iterdir()))
        page.locator(".job .state", has_text="done").wait_for(timeout=_LONG_MS)
    page.get_by_role("region", name="Files that were refused").wait_for()


def models(page: Page, server: str) -> None:
    """A retraining that has ended, and the versions."""
    page.goto(f"{server}/?view=models")
    # The same epochs from the same version would give the same weights, which are registered already.
    before = len(httpx.get(f"{server}/v1/models").raise_for_status().json()["models"])
    page.get_by_label("Epochs").fill(str(_EPOCHS + before))
    page.get_by_role("button", name="Start the retraining").click()
    page.locator(".outcome").wait_for(timeout=_LONG_MS)
    page.locator(".model", has_text="retrained").first.wait_for()


SHOTS = (
    Shot("search", results),
    Shot("search-dark", results, scheme="dark"),
    Shot("phone", results, size=(390, 844)),
    Shot("filters", narrowed, size=(1440, 1100)),
    Shot("detail", detail, size=(1440, 1560), part="dialog .panel"),
    Shot("picture", picture),
    Shot("upload", upload, size=(1240, 980)),
    Shot("models", models, size=(1240, 1340)),
    Shot("audit", audit, size=(1240, 980)),
)


def photograph(browser: Browser, shot: Shot, server: str, folder: Path) -> Path:
    """Write `folder/<name>.png` in 256 colours and return its path.

    Raises:
        RuntimeError: it is larger than documents should carry.
    """
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=shot.scheme, locale="en-GB", timezone_id="UTC"
    )
    page = context.new_page()
    shot.act(page, server)
    page.wait_for_load_state("networkidle")
    taken = page.screenshot() if shot.part is None else page.locator(shot.part).screenshot()
    context.close()
    path = folder / f"{shot.name}.png"
    Image.open(io.BytesIO(taken)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{path} has {path.stat().st_size:,} bytes; more than {MOST_BYTES:,} are too many")
    return path


def _pair(first: bytes, second: bytes) -> bytes:
    """Two pictures beside each other, as PNG."""
    parts = [Image.open(io.BytesIO(one)).convert("RGB").resize((150, 340)) for one in (first, second)]
    whole = Image.new("RGB", (300, 340))
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (150, 0))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def run(
    server: Annotated[str, typer.Argument(help="Address of a server of `descry demo`.")],
    names: Annotated[list[str] | None, typer.Argument(help="Which pictures; all if none is named.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = FOLDER,
) -> None:
    """Take the pictures of the documentation."""
    console = Console()
    known = [shot.name for shot in SHOTS]
    if unknown := sorted(set(names or ()) - set(known)):
        raise typer.BadParameter(f"no picture {', '.join(unknown)}; there are: {', '.join(known)}")
    out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for shot in SHOTS:
            if not names or shot.name in names:
                path = photograph(browser, shot, server.rstrip("/"), out)
                console.print(json.dumps({"picture": str(path), "bytes": path.stat().st_size}))


if __name__ == "__main__":
    typer.run(run)
