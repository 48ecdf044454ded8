"""One candidate in a real browser: images, evidence, timeline, verdicts, changes and deletion."""

import re
from urllib.parse import urlencode

from playwright.sync_api import Locator, expect

from tests.end_to_end.page.conftest import HOSTILE, IDENTITIES, IMAGES, QUERY, Held, Visit, expect_title


def opened(visit: Visit, query: str, name: str, purpose: str = "") -> Locator:
    """The panel of a person whom a search has found."""
    visit.go(f"/?{urlencode({'q': query} | ({'purpose': purpose} if purpose else {}))}")
    button = visit.page.get_by_role("button", name=re.compile(f"^{name}, rank"))
    while not button.count():
        # Not `click`, which scrolls there: the page then loads more by itself, and takes the button away meanwhile.
        visit.page.get_by_role("button", name="More candidates").dispatch_event("click")
        visit.page.get_by_text("candidates are shown").wait_for()
    button.click()
    dialog = visit.page.get_by_role("dialog", name=name)
    expect(dialog.locator("figure")).to_have_count(IMAGES)
    return dialog


def test_keyboard_alone_walks_from_search_to_detail_and_back(visit: Visit) -> None:
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("black trousers")
    visit.page.keyboard.press("Enter")
    expect_title(visit, "“black trousers”")
    name = visit.page.evaluate("document.querySelector('.card .open').textContent")
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        if visit.page.evaluate("document.activeElement.className") == "open":
            break
    visit.page.keyboard.press("Enter")
    dialog = visit.page.get_by_role("dialog", name=name)
    expect(dialog.locator("figure").first).to_be_visible()
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    assert "open=" in visit.page.url
    visit.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(visit.page.locator(".card .open").first).to_be_focused()
    visit.page.wait_for_url(re.compile(r"\?q=black\+trousers$"))
    visit.page.go_forward()
    expect(dialog).to_be_visible()
    visit.page.go_back()
    expect(dialog).to_have_count(0)
    assert len([url for url in visit.requested if url.endswith("/search/text")]) == 1  # nothing was asked twice


def test_images_timeline_and_evidence(visit: Visit) -> None:
    dialog = opened(visit, "a red coat and black trousers", "P-0003")
    expect(dialog.get_by_text(re.compile(r"Candidate \d+, .*A candidate, not an identification."))).to_be_visible()
    expect(dialog.locator("time").first).to_be_visible()
    expect(dialog.locator(".timeline h3")).to_have_text(re.compile(r"Seen \d times? by \d cameras?"))
    assert dialog.locator(".timeline .mark").count() == dialog.locator(".sightings li").count() > 0
    phrase = dialog.get_by_role("button", name=re.compile(r"^a red coat \d+ of 100"))
    pictures = dialog.locator("figure img")
    expect(phrase).to_be_visible()
    visit.check_accessible()
    phrase.click()
    expect(pictures.last).to_have_attribute("src", re.compile("^blob:"))
    expect(phrase).to_have_attribute("aria-pressed", "true")
    expect(dialog.get_by_text("heat says where, not whether")).to_be_visible()
    phrase.click()
    expect(pictures.last).to_have_attribute("src", re.compile("^/v1/images/"))
    dialog.get_by_text("As a list").click()
    dialog.locator(".sightings button").last.click()
    expect(dialog.locator("figure.marked")).not_to_have_count(0)


def test_more_like_a_picture_and_more_like_a_person(visit: Visit) -> None:
    dialog = opened(visit, "black trousers", "P-0004")
    dialog.get_by_role("button", name="Search with this picture").first.click()
    expect_title(visit, "Candidates for the picture of P-0004")
    expect(visit.page.locator(".card h3").first).to_have_text("P-0004")  # by the other pictures
    assert "/?like=" in visit.page.url
    visit.page.locator(".card .open").first.click()
    visit.page.get_by_role("button", name="More like this person").click()
    expect_title(visit, "Candidates for the pictures of P-0004")
    assert "P-0004" not in visit.page.locator(".card h3").all_inner_texts()
    visit.page.go_back()
    expect_title(visit, "Candidates for the picture of P-0004")


def test_verdicts_refine_the_search(visit: Visit) -> None:
    visit.search("black trousers")
    expect_title(visit, "black trousers")
    names = visit.page.locator(".card h3").all_inner_texts()
    for name, verdict in ((names[1], "Confirm"), (names[0], "Reject")):
        visit.page.get_by_role("button", name=f"{name}, rank").click()
        pressed = visit.page.get_by_role("dialog").get_by_role("button", name=verdict)
        pressed.click()
        expect(pressed).to_have_attribute("aria-pressed", "true")
        visit.page.keyboard.press("Escape")
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        expect(visit.page).not_to_have_url(re.compile("[?&]open="))  # a moment later than the dialog
    expect(visit.page.locator(".badge.reject")).to_have_count(1)
    visit.page.reload()  # the verdicts belong to the query, which is in the address now
    expect(visit.page.locator(".badge.confirm")).to_have_count(1)
    expect(visit.page.get_by_text("2 judged")).to_be_visible()
    visit.page.get_by_role("button", name="Refine by verdicts").click()
    expect_title(visit, "refined by what was judged")
    assert names[0] not in visit.page.locator(".card h3").all_inner_texts()
    assert visit.page.locator(".card h3").first.inner_text() == names[1]
    assert visit.page.url.endswith("&refine=1")
    visit.page.locator(".card .open").first.click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator(".badge.confirm")).to_have_count(0)  # taken back


def test_a_candidate_that_is_opened_before_the_verdicts_have_come_waits_for_them(visit: Visit) -> None:
    visit.search("black trousers")
    expect_title(visit, "black trousers")
    visit.page.locator(".card .open").first.click()
    pressed = visit.page.get_by_role("dialog").get_by_role("button", name="Confirm")
    pressed.click()
    expect(pressed).to_have_attribute("aria-pressed", "true")
    visit.page.keyboard.press("Escape")
    expect(visit.page).not_to_have_url(re.compile("[?&]open="))
    held = Held(visit.page, "**/v1/queries/*/feedback")
    visit.page.reload()
    visit.page.locator(".card .open").first.click()
    expect(visit.page.get_by_role("dialog").get_by_text("Loading all images")).to_be_visible()
    held.let_go()
    expect(pressed).to_have_attribute("aria-pressed", "true")
    pressed.click()
    expect(pressed).to_have_attribute("aria-pressed", "false")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator(".badge.confirm")).to_have_count(0)


def test_a_person_is_named_and_an_image_described(visit: Visit) -> None:
    dialog = opened(visit, "black trousers", "P-0006")
    dialog.get_by_role("button", name="Edit").click()
    dialog.get_by_label("Name", exact=True).fill("P-0005")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("P-0005")  # somebody else has it
    dialog.get_by_label("Name", exact=True).fill("Anna <b>")
    dialog.get_by_role("button", name="Add an attribute").click()
    dialog.get_by_label("Attribute").fill("ticket")
    dialog.get_by_label("Value").fill("A-220")
    visit.check_accessible()
    dialog.get_by_role("button", name="Save").click()
    changed = visit.page.get_by_role("dialog", name="Anna <b>")
    expect(changed.locator(".attributes").first).to_contain_text("A-220")
    changed.get_by_role("button", name="Describe otherwise").first.click()
    changed.get_by_label("Description of this image").fill("A person in <i>black</i> trousers.")
    changed.get_by_role("button", name="Save").click()
    expect(changed.locator("figure .description").first).to_have_text("A person in <i>black</i> trousers.")
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("button", name="Anna <b>, rank")).to_be_visible()


def test_deleting_asks_and_is_real(visit: Visit) -> None:
    dialog = opened(visit, "black trousers", "P-0008")
    dialog.get_by_role("button", name="Delete image").first.click()
    asked = visit.page.get_by_role("dialog", name="Delete this image?")
    asked.get_by_role("button", name="Delete 1 image").click()
    expect(dialog.locator("figure")).to_have_count(IMAGES - 1)
    dialog.get_by_role("button", name="Delete", exact=True).click()
    asked = visit.page.get_by_role("dialog", name="Delete P-0008?")
    expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
    visit.check_accessible()
    asked.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    asked.get_by_role("button", name="Delete 2 images").click()
    expect(dialog).to_have_count(0)
    expect(visit.page.get_by_role("button", name="P-0008, rank")).to_have_count(0)
    visit.page.wait_for_url(re.compile(r"\?q=black\+trousers$"))  # the address follows a moment later
    visit.page.go_forward()  # to the address that showed the person
    expect(visit.page.get_by_role("alert")).to_contain_text("identity")
    visit.page.keyboard.press("Escape")
    visit.search("black trousers, a person")
    expect_title(visit, "a person")
    visit.page.get_by_role("button", name="More candidates").dispatch_event("click")
    expect(visit.page.get_by_text("candidates are shown")).to_be_visible()
    assert "P-0008" not in visit.page.locator(".card h3").all_inner_texts()


def test_unnamed_picture_shows_what_is_known(visit: Visit) -> None:
    visit.go("/?q=black+trousers&named=no")
    card = visit.cards.first
    expect(visit.cards).to_have_count(1)
    expect(card.locator("h3")).to_contain_text("Unnamed")
    expect(card).to_contain_text("provisional")
    expect(card.locator(".where")).to_have_text(re.compile(r"\.(jpg|png)$"))  # where to find it, if nothing else
    expect(visit.page.get_by_text("This is the only candidate.")).to_be_visible()
    card.get_by_role("button").press("Enter")
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.locator("figure")).to_have_count(1)
    text = visit.page.locator("body").inner_text()
    assert [word for word in ("null", "undefined", "NaN", "[object") if word in text] == []


def test_markup_in_names_stays_text(visit: Visit) -> None:
    visit.go("/?like=1")
    card = visit.cards.first
    expect(card.locator("img")).to_have_count(IMAGES - 1)  # the other ones
    for shown in ("h3", ".camera", ".description"):
        expect(card.locator(shown)).to_have_text(HOSTILE)
    card.get_by_role("button").press("Enter")
    dialog = visit.page.get_by_role("dialog")
    expect(dialog.locator("figure .camera")).to_have_text([HOSTILE] * IMAGES)
    expect(dialog.locator("h2")).to_have_text(HOSTILE)
    assert visit.page.locator("img[src=x], main script, dialog script").count() == 0
    dialog.get_by_role("button", name="Search with this picture").nth(1).click()
    expect(visit.page.locator("#picture-name")).to_contain_text(HOSTILE)
    visit.page.get_by_role("button", name="Filters").click()
    expect(visit.page.get_by_role("group", name="Cameras").get_by_text(HOSTILE)).to_be_visible()
    assert visit.page.evaluate("document.title") != "owned"


def test_a_person_who_is_gone_is_said(visit: Visit) -> None:
    visit.go(f"/?q={QUERY.replace(' ', '+')}&open={IDENTITIES * 100}")
    expect(visit.page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_url(re.compile("trousers$"))


def test_without_keys_the_page_says_that_there_is_no_second_person(visit: Visit) -> None:
    dialog = opened(visit, "black trousers", "P-0003")
    dialog.get_by_role("button", name="Mark as identification").click()
    form = dialog.get_by_role("form", name="Mark as identification")
    form.get_by_label("Purpose or case").fill("x")
    form.get_by_label("By what you recognise the person").fill("y")
    form.get_by_role("button", name="Propose").click()
    expect(form.get_by_role("alert")).to_contain_text("There is no second person")
    expect(form.get_by_role("alert").locator("code")).to_have_text("descry keys create NAME --scope search")
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("link", name="Identifications", exact=True).click()
    expect(visit.page.get_by_text("Nobody was identified yet")).to_be_visible()
    visit.check_accessible()
