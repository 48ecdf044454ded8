"""Searching in a real browser against a real server: what people see, and what must never happen."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from app.settings import Settings
from tests.end_to_end.page.conftest import (
    FIRST_PAGE,
    HOSTILE,
    IDENTITIES,
    IMAGES,
    QUERY,
    Visit,
    Visiting,
    expect_title,
    with_demo_model,
)
from tests.served import serving

TO_THE_END = """() => {
  scrollTo(0, document.body.scrollHeight);
  return document.querySelector(".pages + .foot").textContent.startsWith("All ");
}"""


def body_of(visit: Visit, path: str, act: str) -> dict[str, object]:
    """What the page sends when a button is pressed."""
    with visit.page.expect_request(f"**{path}") as sent:
        visit.page.get_by_role("button", name=act, exact=True).click()
    found: dict[str, object] = json.loads(sent.value.post_data or "")
    return found


def test_start_says_what_there_is_to_search(visit: Visit) -> None:
    expect(visit.page.locator("#gallery")).to_have_text(
        f"{IDENTITIES + 1} identities · {IDENTITIES * IMAGES} images · model demo"
    )
    expect(visit.page.get_by_text("Candidates, not identifications", exact=True)).to_be_visible()
    visit.page.get_by_role("button", name="Search", exact=True).click()
    expect(visit.page.locator("#hint")).to_have_text("Say what the person looks like, or choose a picture.")
    assert len(visit.requested) == len(set(visit.requested))
    visit.check_accessible()


def test_description_gives_ranked_cards(visit: Visit, people: Path) -> None:
    row = json.loads((people / "manifest.jsonl").read_text().splitlines()[20])
    visit.search(row["description"])
    expect_title(visit, f"Candidates for “{row['description']}”")
    expect(visit.page.locator(".card h3").first).to_have_text(row["identity"])
    expect(visit.page.locator(".card .rank")).to_have_text([str(rank) for rank in range(1, FIRST_PAGE + 1)])
    texts = visit.page.locator(".card .score").all_inner_texts()
    told = [float(re.sub(r"[^0-9]", "", text)) for text in texts]
    assert told == sorted(told, reverse=True)
    assert len(set(told)) > 1
    assert all(re.match(r"(likely|rather likely|possible|doubtful|unlikely) [<>]? ?\d+ %", text) for text in texts)
    weak = visit.page.locator(".weak-line")
    expect(weak).to_have_count(1)
    expect(weak).to_contain_text("rather not the person")
    shown = "() => [...document.querySelectorAll('.card img')].slice(0, 6).every((image) => image.naturalWidth > 20)"
    visit.page.wait_for_function(shown)
    visit.check_accessible()
    visit.page.get_by_role("button", name="More candidates").dispatch_event("click")
    expect(visit.cards).to_have_count(IDENTITIES + 1)
    expect(visit.page.get_by_text(f"All {IDENTITIES + 1} candidates are shown.")).to_be_visible()
    expect(weak).to_have_count(1)


def test_long_answer_keeps_only_what_is_near(visit: Visit) -> None:
    visit.go("/?q=black+trousers&group=image")
    visit.page.set_viewport_size({"width": 900, "height": 500})
    heights = "() => [...document.querySelectorAll('.pages > ol')].map((list) => list.offsetHeight)"
    expect(visit.cards).to_have_count(FIRST_PAGE)
    visit.page.wait_for_function(TO_THE_END)
    expect(visit.page.get_by_text(f"All {IDENTITIES * IMAGES} candidates")).to_be_visible()
    before = visit.page.evaluate(heights)
    visit.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(visit.page.locator(".pages > ol").first.locator(".card")).to_have_count(0)
    assert visit.page.evaluate(heights) == before  # nothing jumps
    visit.page.evaluate("scrollTo(0, 0)")
    expect(visit.page.locator(".pages > ol").first.locator(".card")).to_have_count(FIRST_PAGE)
    assert visit.page.evaluate(heights) == before


def test_address_and_back_button_bring_a_search_back(visit: Visit) -> None:
    visit.go("/?q=yellow+dress")
    expect_title(visit, "“yellow dress”")
    visit.search("blue jeans")
    expect_title(visit, "“blue jeans”")
    assert visit.page.url.endswith("/?q=blue+jeans")
    visit.page.go_back()
    expect_title(visit, "“yellow dress”")
    expect(visit.page.get_by_label("Describe the person")).to_have_value("yellow dress")


def test_what_the_person_is_without(visit: Visit) -> None:
    visit.page.get_by_label("Describe the person").fill("a man in a blue jacket")
    without = visit.page.get_by_label("Without", exact=True)
    without.fill("without a hat")
    without.press("Enter")
    without.fill("a backpack")
    sent = body_of(visit, "/v1/search/composed", "Search")
    assert sent["negatives"] == [{"text": "a hat"}, {"text": "a backpack"}]
    expect(visit.title).to_have_text("Candidates for “a man in a blue jacket”, without “a hat”, “a backpack”")
    assert visit.page.url.endswith("/?q=a+man+in+a+blue+jacket&not=a+hat&not=a+backpack")
    visit.page.reload()
    expect(visit.page.locator(".denied li")).to_have_count(2)
    changed = visit.page.get_by_text("Changed since the last search")
    expect(changed).to_have_count(0)
    visit.page.get_by_role("button", name="Not without a hat any more").click()
    expect(changed).to_be_visible()  # the answer below still is the one without a hat
    assert body_of(visit, "/v1/search/composed", "Search")["negatives"] == [{"text": "a backpack"}]
    expect_title(visit, "without “a backpack”")
    expect(changed).to_have_count(0)


def test_filters_by_what_the_gallery_has(visit: Visit) -> None:
    visit.page.get_by_label("Describe the person").fill("a person")
    visit.page.get_by_role("button", name="Filters").click()
    cameras = visit.page.get_by_role("group", name="Cameras")
    expect(cameras.get_by_role("checkbox").first).to_be_visible()
    name = cameras.locator(".choice span:not(.count)").filter(has_text="cam-").first.inner_text()
    names = [one for one in cameras.locator(".choice span:not(.count)").all_inner_texts() if one.startswith("cam-")]
    assert len(names) > 1
    assert names == sorted(names)
    cameras.get_by_role("searchbox").fill(name)
    expect(cameras.get_by_role("checkbox")).to_have_count(1)
    cameras.get_by_role("checkbox").check()
    visit.page.get_by_label("Attribute", exact=True).select_option(label="upper colour")
    visit.page.get_by_label("Value", exact=True).select_option(index=0)
    visit.page.get_by_role("button", name="Add this condition").click()
    visit.page.get_by_label("Taken from").fill("2020-01-01T10:00")
    visit.page.get_by_label("From this time of day").fill("22:00")
    half = visit.page.get_by_text("Both times are needed")
    expect(half).to_be_visible()
    visit.page.get_by_label("Until this time of day").fill("21:59")
    expect(half).to_have_count(0)
    visit.check_accessible()
    found = body_of(visit, "/v1/search/text", "Search")["filters"]
    assert isinstance(found, dict)
    assert found["cameras"] == [name]
    assert found["captured_at"] == {"from": "2020-01-01T09:00:00.000Z", "to": None}  # by the clock of Berlin
    assert found["time_of_day"] == {"from": "22:00", "to": "21:59", "timezone": "Europe/Berlin"}
    assert [one["op"] for one in found["image_attributes"]] == ["eq"]
    expect(visit.page.locator(".conditions-set li")).to_have_count(4)
    visit.page.reload()
    expect(visit.page.get_by_role("button", name="Filters (4)")).to_be_visible()
    visit.page.get_by_role("button", name="Search without the condition: at 22:00").click()
    expect(visit.page.locator(".conditions-set li")).to_have_count(3)


def test_nobody_meets_the_conditions(visit: Visit) -> None:
    visit.go("/?q=a+person&to=1999-01-01T00:00:00.000Z")
    expect(visit.page.get_by_role("heading", name="Nobody meets these conditions")).to_be_visible()
    visit.check_accessible()
    visit.page.get_by_role("button", name="Search without: until").click()
    expect(visit.cards).to_have_count(FIRST_PAGE)


def test_purpose_goes_along_and_is_asked_for_where_it_is_required(visit: Visit) -> None:
    visit.page.get_by_label("Describe the person").fill("blue jeans")
    told = {"title": "No purpose", "detail": "say what this search is for", "code": "purpose_required", "status": 422}
    kind = "application/problem+json"
    refuse = partial(Route.fulfill, status=422, content_type=kind, body=json.dumps(told))
    visit.page.route("**/v1/search/text", lambda route: refuse(route))
    visit.page.get_by_role("button", name="Search", exact=True).click()
    purpose = visit.page.get_by_label("Purpose or case")
    expect(purpose).to_be_focused()
    expect(purpose).to_have_attribute("aria-invalid", "true")
    expect(visit.page.locator("#purpose-note")).to_have_text("Say what the search is for, such as a case.")
    expect(visit.page.get_by_text("Write above what the search is for")).to_be_visible()
    visit.page.unroute("**/v1/search/text")
    purpose.fill("case 17")
    assert body_of(visit, "/v1/search/text", "Search")["purpose"] == "case 17"
    expect_title(visit, "“blue jeans”")
    assert visit.page.url.endswith("purpose=case+17")


def test_that_nobody_matches_is_said(visit: Visit) -> None:
    visit.search(
        "An elderly woman with long blonde hair wears a yellow dress, an orange cardigan, green boots and a purple sun "
        "hat, and is pulling a pink suitcase."
    )
    expect(visit.page.locator(".no-match")).to_contain_text("No good match")
    visit.search("red coat")
    expect_title(visit, "red coat")
    expect(visit.page.locator(".no-match")).to_have_count(0)


def test_what_is_not_understood_is_said(visit: Visit) -> None:
    alert = visit.page.get_by_role("alert")
    visit.search("zorp qwertz")
    expect(alert).to_contain_text("No word of the description is known")
    expect(alert).to_contain_text("zorp, qwertz")
    visit.search("ein Mann mit einem roten Hut und einer blauen Jacke")
    expect(alert).to_contain_text("German")
    visit.search("red coat zorp")
    expect(visit.page.locator(".notes")).to_contain_text("Not understood: zorp.")
    expect(alert).to_have_count(0)
    visit.search("red coat without a hat")
    expect(visit.page.locator(".notes")).to_contain_text("was taken out of it")


def test_a_search_is_saved_found_again_and_forgotten(visit: Visit) -> None:
    visit.search(QUERY)
    visit.page.get_by_role("button", name="Save search").click()
    visit.page.get_by_label("Name of the saved search").fill(HOSTILE)
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("button", name=f"Saved as “{HOSTILE}”")).to_be_visible()
    assert re.search(r"/\?query=[0-9a-f]{32}$", visit.page.url)
    visit.page.get_by_role("link", name="Past searches").click()
    saved = visit.page.get_by_role("region", name="Saved")
    expect(saved.locator(".row")).to_have_count(1)
    visit.check_accessible()
    saved.get_by_role("link", name=HOSTILE).click()
    expect_title(visit, f"“{QUERY}”")
    expect(visit.page.get_by_label("Describe the person")).to_have_value(QUERY)
    visit.page.go_back()
    saved.get_by_role("button", name="Delete the search").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
    expect(saved.locator(".row")).to_have_count(0)


def test_results_go_out_as_files(visit: Visit) -> None:
    visit.search(QUERY)
    visit.page.locator(".export summary").click()
    for name, beginning in (("CSV table", b"\xef\xbb\xbf"), ("PDF to print", b"%PDF"), ("JSON", b"{")):
        with visit.page.expect_download() as download:
            visit.page.get_by_role("link", name=name).click()
        content = Path(download.value.path()).read_bytes()
        assert content.startswith(beginning) or name == "CSV table"
        assert len(content) > 500
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("link", name="CSV table")).not_to_be_visible()


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
    expect_title(visit, "“yellow dress”")


def test_unreachable_server_is_said_and_can_be_tried_again(visit: Visit) -> None:
    visit.page.context.set_offline(True)
    visit.search(QUERY)
    expect(visit.page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    visit.check_accessible()
    visit.page.context.set_offline(False)
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.cards).to_have_count(FIRST_PAGE)


def test_a_part_of_the_page_that_cannot_be_fetched_is_told_and_tried_again(visit: Visit) -> None:
    visit.page.context.set_offline(True)
    visit.page.get_by_role("link", name="Models", exact=True).click()
    expect(visit.page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    visit.page.context.set_offline(False)
    visit.page.get_by_role("button", name="Try again").click()
    expect(visit.page.get_by_role("article", name="Model version demo")).to_be_visible()


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
    expect(visit.cards).to_have_count(FIRST_PAGE)


def test_empty_gallery_and_missing_model_say_what_to_do(visits: Visiting, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu")
    with serving(settings) as server, visits(server) as visit:
        visit.go("/?q=red")
        expect(visit.page.get_by_text("descry models register --shipped --activate")).to_be_visible()
        visit.page.get_by_role("link", name="Models", exact=True).click()
        expect(visit.page.get_by_role("heading", name="No model version is registered")).to_be_visible()
    with_demo_model(settings)
    with serving(settings) as server, visits(server) as visit:
        visit.go("/")
        expect(visit.page.get_by_text("descry ingest FOLDER")).to_be_visible()
        visit.search(QUERY)
        expect(visit.page.get_by_role("heading", name="The gallery is empty")).to_be_visible()
        expect(visit.cards).to_have_count(0)
        visit.check_accessible()
        for view, said in (
            ("Jobs", "No jobs yet"),
            ("Gallery", "No images yet"),
            ("Past searches", "No search is saved"),
        ):
            visit.page.get_by_role("navigation").get_by_role("link", name=view).click()
            expect(visit.page.get_by_role("heading", name=said)).to_be_visible()


def test_narrow_screen_never_scrolls_sideways(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 320, "height": 640})
    width = "document.documentElement.scrollWidth"
    for address, seen in (
        ("/?like=1", ".card h3"),
        ("/?view=searches", ".row"),
        ("/?view=gallery", ".row"),
        ("/?view=jobs", ".message"),
        ("/?view=models", ".model"),
    ):
        visit.go(address)
        expect(visit.page.locator(seen).first).to_be_visible()
        assert visit.page.evaluate(width) <= 320, address
    visit.go("/?like=1&open=1")
    expect(visit.page.locator("dialog figure")).to_have_count(IMAGES)
    assert visit.page.evaluate("document.querySelector('dialog').scrollWidth") <= 320
