"""Searching with a picture: chosen, dropped, pasted, cropped; alone and together with words."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Request, expect

from tests.end_to_end.page.conftest import HOSTILE, Visit, expect_title, picture_of

DROP = """([data, name, type, times = 1]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  for (let time = 0; time < times; time += 1) transfer.items.add(new File([bytes], name, { type }));
  document.body.dispatchEvent(new DragEvent("dragover", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
PASTE = """([data, name, type]) => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], name, { type }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""
BOX = "Part of the picture that is searched with"


def ask(visit: Visit) -> Request:
    """Press Search; returns what was sent."""
    with visit.page.expect_request(re.compile(r"/v1/search/(image|composed)$")) as sent:
        visit.page.get_by_role("button", name="Search", exact=True).click()
    return sent.value


def side_by_side(people: Path, *numbers: int) -> bytes:
    """A picture of several people beside each other."""
    parts = [Image.open(picture_of(people, number)).resize((100, 240)) for number in numbers]
    whole = Image.new("RGB", (100 * len(parts), 240))
    for index, part in enumerate(parts):
        whole.paste(part, (100 * index, 0))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def test_chosen_picture_finds_its_person(visit: Visit, people: Path) -> None:
    visit.page.locator("#file").set_input_files(picture_of(people, 5))
    expect(visit.page.get_by_alt_text("The picture that is searched with")).to_be_visible()
    visit.check_accessible()
    ask(visit)
    expect_title(visit, "Candidates for your picture")
    first = visit.cards.first
    expect(first.locator("h3")).to_have_text("P-0005")
    expect(first.locator(".score")).to_contain_text("likely")
    address = visit.page.url
    assert re.search(r"/\?query=[0-9a-f]{32}$", address)  # and no byte of the picture
    visit.page.reload()  # the server keeps what it is searched by, not the picture
    expect(first.locator("h3")).to_have_text("P-0005")
    expect(visit.page.get_by_text("The picture was not kept")).to_be_visible()
    visit.page.get_by_role("button", name="Search", exact=True).click()
    expect(visit.page.locator("#hint")).to_contain_text("choose it again, or remove it")


def test_back_brings_the_picture_of_this_visit_back(visit: Visit, people: Path) -> None:
    visit.page.locator("#file").set_input_files(picture_of(people, 5))
    ask(visit)
    expect_title(visit, "your picture")
    visit.page.get_by_role("button", name="Remove").click()
    expect(visit.cards).to_have_count(0)
    visit.page.go_back()
    expect(visit.cards.first.locator("h3")).to_have_text("P-0005")
    expect(visit.page.get_by_alt_text("The picture that is searched with")).to_be_visible()


@pytest.mark.parametrize("way", [DROP, PASTE], ids=["drop", "paste"])
def test_dropped_and_pasted_picture_finds_its_person(visit: Visit, people: Path, way: str) -> None:
    data = base64.b64encode(picture_of(people, 7).read_bytes()).decode()
    visit.page.evaluate(way, [data, HOSTILE, "image/jpeg"])
    expect(visit.page.locator("#picture-name")).to_have_text(HOSTILE)
    ask(visit)
    expect(visit.page.locator(".card h3").first).to_have_text("P-0007")
    assert "owned" not in visit.page.evaluate("document.title.replace(/<.*>/s, '')")


def test_only_what_is_in_the_box_is_searched_with(visit: Visit, people: Path) -> None:
    data = base64.b64encode(side_by_side(people, 7, 9)).decode()
    visit.page.evaluate(DROP, [data, "two.png", "image/png"])
    box = visit.page.get_by_role("group", name=BOX)
    box.focus()
    for _ in range(25):
        visit.page.keyboard.press("Shift+ArrowLeft")
    expect(visit.page.get_by_text("Box: 50 % wide, 100 % high, 0 % from the left, 0 % from the top.")).to_be_visible()
    ask(visit)
    expect(visit.page.locator(".card h3").first).to_have_text("P-0007")
    box.focus()
    for _ in range(25):
        visit.page.keyboard.press("ArrowRight")
    expect(visit.page.get_by_text("Box: 50 % wide, 100 % high, 50 % from the left")).to_be_visible()
    ask(visit)
    expect(visit.page.locator(".card h3").first).to_have_text("P-0009")


def test_box_is_dragged_by_its_corner(visit: Visit, people: Path) -> None:
    data = base64.b64encode(side_by_side(people, 9, 7)).decode()
    visit.page.evaluate(DROP, [data, "two.png", "image/png"])
    shown = visit.page.get_by_alt_text("The picture that is searched with")
    assert shown.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 200  # it has its size
    place = visit.page.get_by_role("group", name=BOX).bounding_box()
    assert place is not None
    visit.page.mouse.move(place["x"] + place["width"] - 4, place["y"] + place["height"] - 4)
    visit.page.mouse.down()
    visit.page.mouse.move(place["x"] + place["width"] / 2 - 4, place["y"] + place["height"] + 40, steps=4)
    visit.page.mouse.up()
    expect(visit.page.get_by_text(re.compile(r"Box: (49|50|51) % wide, 100 % high"))).to_be_visible()
    ask(visit)
    expect(visit.page.locator(".card h3").first).to_have_text("P-0009")
    visit.page.get_by_role("button", name="Whole picture").click()
    expect(visit.page.get_by_text("Box:")).to_have_count(0)


def test_words_and_picture_together(visit: Visit, people: Path) -> None:
    data = base64.b64encode(picture_of(people, 5).read_bytes()).decode()
    visit.page.evaluate(DROP, [data, "a.jpg", "image/jpeg", 2])  # two files
    expect(visit.page.locator("#hint")).to_contain_text("2 pictures were given; the first one is used")
    visit.page.get_by_label("Describe the person").fill("black trousers")
    visit.page.get_by_label("Without", exact=True).fill("a hat")
    sent = ask(visit)
    assert sent.url.endswith("/v1/search/composed")
    expect_title(visit, "Candidates for “black trousers” and your picture, without “a hat”")
    scores = visit.page.locator(".card .score").all_inner_texts()
    assert all("%" in text for text in scores)  # log-odds would be no percentages


def test_what_is_no_picture_is_said(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    for content, message in ((b"no picture", "Not a picture"), (b"\xff\xd8\xff" + bytes(21 << 20), "too large")):
        file.write_bytes(content)
        visit.page.locator("#file").set_input_files(file)
        visit.page.get_by_role("button", name="Search", exact=True).click()
        expect(visit.page.get_by_role("alert")).to_contain_text(message)
