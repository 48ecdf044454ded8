"""People are quicker than answers: what was left, overtaken or pressed twice does no harm.

A route holds the request in question, so that the order is that of the test and never that of the machine.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.end_to_end.page.conftest import Held, Visit, expect_title, picture_of

JOB: dict[str, Any] = {
    "id": "a" * 32, "kind": "ingest", "state": "running", "cancel_requested": False, "created_at": "2026-11-22T00:00Z",
    "started_at": None, "finished_at": None, "worker": None, "done": 1, "total": 9, "unit": "images", "progress": {},
    "counts": None, "error": None, "retryable": False, "result_url": None, "log": [],
}  # fmt: skip


def found(visit: Visit, words: str) -> None:
    visit.search(words)
    expect_title(visit, f"“{words}”")


def opened(visit: Visit, index: int = 0) -> tuple[str, Locator]:
    """The name and the panel of a candidate that is shown."""
    button = visit.page.locator(".card .open").nth(index)
    name = button.inner_text()
    button.click()
    dialog = visit.page.get_by_role("dialog", name=name)
    expect(dialog.get_by_role("button", name="Confirm")).to_be_visible()
    return name, dialog


def closed(visit: Visit) -> None:
    visit.page.keyboard.press("Escape")
    expect(visit.page).not_to_have_url(re.compile("[?&]open="))


def mark(place: Locator) -> None:
    place.evaluate("(element) => { element.mark = true; }")


def answer(body: object) -> Callable[[Route], None]:
    return lambda route: route.fulfill(json=body)


def test_what_is_opened_while_the_page_steps_back_stays_open(visit: Visit) -> None:
    found(visit, "black trousers")
    opened(visit)
    page = visit.page
    name = page.locator(".card .open").nth(1).text_content() or ""
    page.evaluate("""() => {
      const detail = document.querySelector("#detail");
      addEventListener("popstate", () => { window.stepped = true; }, { once: true });
      // After the page has heard of it: the step back is asked for, and not made yet.
      detail.addEventListener("close", () => document.querySelectorAll(".card .open")[1].click(), { once: true });
      detail.close();
    }""")
    page.wait_for_function("window.stepped")
    expect(page.get_by_role("dialog", name=name)).to_be_visible()
    assert "open=" in page.url
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "q=black+trousers" in page.url


def test_a_verdict_that_is_answered_late_leaves_the_next_search_its_address(visit: Visit) -> None:
    found(visit, "black trousers")
    _, dialog = opened(visit)
    held = Held(visit.page, "**/v1/queries/*/feedback")
    dialog.get_by_role("button", name="Confirm").click()
    closed(visit)
    found(visit, "blue jeans")
    held.let_go()
    visit.wait_for_answers()
    assert visit.page.url.endswith("/?q=blue+jeans")


def test_of_two_verdicts_the_last_one_counts(visit: Visit) -> None:
    found(visit, "black trousers")
    _, dialog = opened(visit)
    confirm, reject = (dialog.get_by_role("button", name=name) for name in ("Confirm", "Reject"))
    held = Held(visit.page, "**/v1/queries/*/feedback")
    with visit.page.expect_response(lambda response: '"reject"' in (response.request.post_data or "")):
        confirm.click()
        reject.click()
        held.let_go()
    visit.wait_for_answers()
    expect(reject).to_have_attribute("aria-pressed", "true")
    expect(confirm).to_have_attribute("aria-pressed", "false")
    query = re.search("query=([0-9a-f]{32})", visit.page.url)
    assert query is not None
    told = visit.page.request.get(f"{visit.server}/v1/queries/{query[1]}/feedback").json()["feedback"]
    assert [one["verdict"] for one in told if one["counts"]] == ["reject"]
    closed(visit)
    expect(visit.page.locator(".badge.reject")).to_have_count(1)
    expect(visit.page.locator(".card .open").first).to_be_focused()  # although it was drawn anew


def test_a_change_that_is_saved_late_opens_nothing(visit: Visit) -> None:
    found(visit, "black trousers")
    _, dialog = opened(visit)
    held = Held(visit.page, "**/v1/identities/*")
    dialog.get_by_role("button", name="Edit").click()
    dialog.get_by_label("Name", exact=True).fill("Berta")
    dialog.get_by_role("button", name="Save").click()
    closed(visit)
    held.let_go()
    expect(visit.page.get_by_role("button", name="Berta, rank")).to_be_visible()
    expect(visit.page.get_by_role("dialog")).to_have_count(0)


def test_a_candidate_is_opened_with_the_answer_that_it_is_of(visit: Visit) -> None:
    found(visit, "black trousers")
    name, dialog = opened(visit)
    abandoned = Held(visit.page, "**/v1/search/composed")
    dialog.get_by_role("button", name="More like this person").click()
    expect(visit.page).to_have_url(re.compile("[?&]person="))
    held = Held(visit.page, "**/v1/search/text")
    visit.page.go_back()  # to the open candidate: its search is asked again
    held.let_go()
    expect(visit.page.get_by_role("dialog", name=name).get_by_role("button", name="Confirm")).to_be_visible()
    expect(dialog.locator("header .hint")).to_contain_text("Candidate 1, ")
    abandoned.wait()


def test_cards_of_the_search_before_are_gone_while_a_query_is_looked_up(visit: Visit) -> None:
    found(visit, "black trousers")
    visit.page.get_by_role("button", name="Save search").click()
    visit.page.get_by_label("Name of the saved search").fill("trousers")
    visit.page.keyboard.press("Enter")
    expect(visit.page).to_have_url(re.compile(r"/\?query="))
    found(visit, "blue jeans")
    held = Held(visit.page, re.compile(r"/v1/queries/[0-9a-f]{32}$"))
    visit.page.go_back()
    expect(visit.cards).to_have_count(0)
    held.let_go()
    expect_title(visit, "“black trousers”")


def test_filters_are_those_of_the_collection_that_was_chosen_last(visit: Visit) -> None:
    visit.go("/?q=black+trousers&collection=default")
    expect_title(visit, "black trousers")
    held = Held(visit.page, "**/v1/gallery/facets?collection=default")
    visit.page.get_by_role("button", name="Filters").click()
    expect(visit.page.get_by_text("Loading what this gallery")).to_be_visible()
    visit.page.get_by_role("button", name="Search without the condition: collection default").click()
    chosen = visit.page.get_by_label("Collection", exact=True)
    expect(chosen).to_have_value("")
    mark(chosen)
    held.let_go()
    visit.wait_for_answers()
    expect(chosen).to_have_js_property("mark", True)


def test_what_there_is_to_search_is_the_newest_answer(visit: Visit) -> None:
    page = visit.page
    told = page.locator("#gallery")
    expect(told).to_contain_text("model demo")
    held = Held(page, "**/v1/gallery")
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(look)
    held.wait()
    newer = {"identities": 7, "images": 8, "model_version": None}
    page.route("**/v1/gallery", answer(newer))
    page.evaluate(look)
    expect(told).to_contain_text("7 identities")
    held.let_go()
    visit.wait_for_answers()
    expect(told).to_contain_text("7 identities")


def test_a_view_that_was_left_takes_no_click_any_more(visit: Visit) -> None:
    held = Held(visit.page, "**/static/work/models.js")
    visit.page.get_by_role("link", name="Models", exact=True).click()
    expect(visit.page.locator("#view")).to_have_js_property("inert", True)
    held.let_go()
    expect(visit.page.get_by_role("article", name="Model version demo")).to_be_visible()
    expect(visit.page.locator("#view")).to_have_js_property("inert", False)


def told(page: Page, *jobs: dict[str, Any]) -> None:
    """What the stream of the job says from now on; it ends then, and is asked for again."""
    events = "".join(f"event: job\ndata: {json.dumps(JOB | job)}\n\n" for job in jobs)
    kind = "text/event-stream"
    page.route("**/v1/jobs/*/events", lambda route: route.fulfill(body=events, content_type=kind))


def test_the_panel_of_a_job_stays_what_it_is_while_events_come(visit: Visit) -> None:
    page = visit.page
    page.route(re.compile("/v1/jobs/a+$"), answer(JOB))
    counts = {"ingested": 0, "duplicate": 0, "rejected": 1, "waiting": 0}
    refused = [{"name": f"{number}.jpg", "code": "not_an_image", "message": "no"} for number in range(2)]
    held = Held(page, "**/v1/jobs/*/items?*")
    told(page, {"counts": counts})
    visit.go(f"/?view=jobs&job={JOB['id']}")
    held.wait()
    page.route("**/v1/jobs/*/items?*", answer({"items": refused, "next_after": None}))
    cancel, log = page.get_by_role("button", name="Cancel"), page.locator(".log-room")
    mark(cancel)
    page.get_by_text("Log", exact=True).click()  # it was open
    told(page, {"counts": counts | {"rejected": 2}, "done": 5})
    expect(page.get_by_text("5 of 9 images")).to_be_visible()
    expect(cancel).to_have_js_property("mark", True)  # a click that had begun goes on
    expect(log).to_have_js_property("open", False)
    rows = page.get_by_role("region", name="Files that were refused").locator("tbody tr")
    expect(rows).to_have_count(2)
    held.answer({"items": refused[:1], "next_after": None})  # of the time before
    visit.page.unroute("**/v1/jobs/*/events")
    told(page, {"state": "cancelled"})
    expect(page.locator(".state")).to_have_text("cancelled")
    expect(rows).to_have_count(2)


def test_a_link_in_a_list_stays_while_its_row_changes(visit: Visit) -> None:
    page = visit.page
    page.route("**/v1/jobs?*", answer({"jobs": [JOB], "next_before": None}))
    visit.go("/?view=jobs")
    mark(page.locator(".row a"))
    page.route("**/v1/jobs?*", answer({"jobs": [JOB | {"id": "b" * 32}, JOB | {"done": 5}], "next_before": None}))
    expect(page.locator(".row").nth(1)).to_contain_text("5 of 9 images")
    expect(page.locator(".row a").nth(1)).to_have_js_property("mark", True)


def test_earlier_jobs_that_cannot_be_fetched_are_told(visit: Visit) -> None:
    page = visit.page
    page.route("**/v1/jobs?*", answer({"jobs": [JOB], "next_before": "x"}))
    page.route("**/v1/jobs?*before=x*", lambda route: route.abort())
    visit.go("/?view=jobs")
    page.get_by_role("button", name="Earlier jobs").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.unroute("**/v1/jobs?*before=x*")
    page.route("**/v1/jobs?*before=x*", answer({"jobs": [JOB | {"id": "b" * 32}], "next_before": None}))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".row")).to_have_count(2)


def test_a_retraining_that_is_begun_while_the_page_looks_for_others_is_followed_once(visit: Visit) -> None:
    page = visit.page
    job = JOB | {"kind": "retraining"}
    told(page, job)
    held = Held(page, "**/v1/jobs?state=queued*")
    page.route("**/v1/admin/retraining-jobs", answer(job))
    page.route("**/v1/jobs?state=running*", answer({"jobs": [job | {"id": "b" * 32}], "next_before": None}))
    visit.go("/?view=models")
    page.get_by_role("button", name="Start the retraining").click()
    cards = page.get_by_role("article", name="Retraining")
    expect(cards).to_have_count(1)
    held.answer({"jobs": [job], "next_before": None})
    expect(cards).to_have_count(2)  # that one, and the other one that runs


@pytest.mark.parametrize("times", [1, 2])
def test_back_after_a_picture_leads_to_what_was_before(visit: Visit, people: Path, times: int) -> None:
    found(visit, "black trousers")
    visit.page.locator("#file").set_input_files(picture_of(people, 5))
    visit.page.get_by_label("Describe the person").fill("")
    held = Held(visit.page, "**/v1/search/image")
    for _ in range(times):
        visit.page.get_by_role("button", name="Search", exact=True).click()
        held.wait()
    held.let_go()
    expect(visit.page).to_have_url(re.compile(r"/\?query="))
    visit.page.go_back()
    expect_title(visit, "“black trousers”")
