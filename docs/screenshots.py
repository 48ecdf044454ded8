"""Photographs the page of a running server for the README: `python docs/screenshots.py http://127.0.0.1:8000`."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

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
QUERY = "a woman with long blonde hair in a red coat"
PICTURE_QUERY = "a person in a purple jacket with a red suitcase"


@dataclass(frozen=True)
class Shot:
    """One photograph: `act` says what is on it."""

    name: str
    act: Literal["text", "detail", "picture"]
    size: tuple[int, int] = (1440, 900)
    scheme: Literal["light", "dark"] = "light"


SHOTS = (
    Shot("page", "text", (1440, 920)),
    Shot("page-dark", "text", scheme="dark"),
    Shot("page-phone", "text", (390, 844)),
    Shot("page-detail", "detail"),
    Shot("page-picture", "picture"),
)


def photograph(browser: Browser, shot: Shot, server: str, folder: Path) -> Path:
    """Write `folder/<name>.png` and return its path."""
    width, height = shot.size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=shot.scheme, locale="en-GB", timezone_id="UTC"
    )
    page = context.new_page()
    if shot.act == "picture":
        _search_with_first_answer(page, server)
    else:
        page.goto(f"{server}/?{urlencode({'q': QUERY})}")
    page.locator(".card .open").first.wait_for()
    if shot.act == "detail":
        page.locator(".card .open").first.click()
        page.locator("dialog figure").first.wait_for()
    page.wait_for_load_state("networkidle")
    path = folder / f"{shot.name}.png"
    page.screenshot(path=path)
    context.close()
    return path


def _search_with_first_answer(page: Page, server: str) -> None:
    page.goto(f"{server}/?{urlencode({'q': PICTURE_QUERY})}")
    page.locator(".card .open").first.click()
    page.get_by_role("button", name="Search with this picture").first.click()
    page.locator(".preview img[src^=blob]").wait_for()


def main() -> None:
    """Take every shot, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="address of a running server with the demo gallery")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(shot.name for shot in SHOTS)}; all if none")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images", help="folder for the pictures")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
        for shot in SHOTS:
            if not arguments.names or shot.name in arguments.names:
                photograph(browser, shot, arguments.server.rstrip("/"), arguments.out)
        browser.close()


if __name__ == "__main__":
    main()
