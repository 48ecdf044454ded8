"""The answer to a query as a file: what is on it, and what data cannot do in it."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.core import Core
from app.queries.sheet import WARNING
from app.queries.sheet_html import CSP
from tests.app.conftest import IngestFolder
from tests.app.test_ingest_folder import write_manifest
from tests.app.test_queries_api import ids, judge
from tests.app.test_search_api import ask
from tests.app.toy import picture

NASTY = {
    "red": '=HYPERLINK("http://x")',
    "green": "<script>alert(1)</script>",
    "blue": "\u6797 \U0001f9e5 \u202egnp.exe",
    "yellow": "@SUM(A1)",
}


@pytest.fixture
def filled(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    entries: list[dict[str, object]] = []
    for colour, name in NASTY.items():
        for number in range(2):
            picture(tmp_path / "p" / f"{colour}{number}.jpg", colour, colour, shade=3 * number)
            entries.append(
                {
                    "file": f"{colour}{number}.jpg",
                    "identity": name,
                    "camera": "-2+3|cmd' <img src=x onerror=alert(1)>",
                    "captured_at": "2026-03-01T10:00:00+01:00",
                }
            )
    write_manifest(tmp_path / "p", entries)
    ingest(tmp_path / "p")
    return client


def results(client: TestClient, query_id: str, **options: Any) -> Any:  # noqa: ANN401  a response
    return client.get(f"/v1/queries/{query_id}/results", params=options)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_csv_has_a_line_for_each_image_and_no_formula(filled: TestClient) -> None:
    answer = ask(filled, "a red coat", purpose="=1+1", limit=3, filters={"without_identities": [4]})
    response = results(filled, answer["query_id"], format="csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="descry-[0-9a-f]{12}\.csv"', response.headers["content-disposition"])
    found = rows(response.text)
    shown = [(c["identity"]["id"], i["id"]) for c in answer["candidates"] for i in c["images"]]
    assert [(int(row["identity_id"]), int(row["image_id"])) for row in found] == shown
    assert {row["notice"] for row in found} == {WARNING}
    for row in found:
        assert not any(value.lstrip()[:1] in ("=", "+", "@") for value in row.values())
        assert row["camera"].startswith("'-2+3")
        assert row["captured_at"] == "2026-03-01T09:00:00+00:00"
        assert row["purpose"] == "'=1+1"
    assert found[0]["external_id"] == "'" + NASTY["red"]
    assert float(found[0]["score"]) == answer["candidates"][0]["score"]


def test_json_is_query_and_answer(filled: TestClient) -> None:
    answer = ask(filled, "a red coat", limit=2)
    judge(filled, answer["query_id"], {"identity_id": ids(answer)[1], "verdict": "reject"})
    told = json.loads(results(filled, answer["query_id"], format="json").content)
    assert told["notice"] == WARNING
    assert told["query"]["definition"]["query"] == "a red coat"
    assert told["answer"]["candidates"] == answer["candidates"]
    assert told["verdicts"] == {str(ids(answer)[1]): "reject"}
    learnt = json.loads(results(filled, answer["query_id"], format="json", use_feedback=True).content)
    assert ids(answer)[1] not in [candidate["identity"]["id"] for candidate in learnt["answer"]["candidates"]]


def test_html_stands_alone_and_data_stays_data(filled: TestClient) -> None:
    answer = ask(filled, "a red coat <b>", limit=4, purpose="<i>case</i>")
    judge(filled, answer["query_id"], {"identity_id": ids(answer)[0], "verdict": "confirm"})
    response = results(filled, answer["query_id"], format="html")
    page = response.text
    assert response.headers["content-security-policy"] == f"{CSP}; frame-ancestors 'none'"
    assert page.count("data:image/jpeg;base64,") == 8
    assert not re.search(
        r"<(script|b|i|a|link|iframe)[ >]|onerror=[^&]*>|https?://(?!x)|style=", page.split("</style>")[1]
    )
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;i&gt;case&lt;/i&gt;" in page
    for words in (WARNING, "toy (number 1)", answer["query_id"], "2026-03-01 09:00:00 UTC", "confirmed by a reader"):
        assert words in page


def test_pdf_has_its_pages_and_pictures(filled: TestClient) -> None:
    answer = ask(filled, "a red coat", limit=4)
    response = results(filled, answer["query_id"], format="pdf")
    assert response.headers["content-type"] == "application/pdf"
    assert response.content.startswith(b"%PDF-")
    assert response.content.count(b"/DCTDecode") == 8
    assert response.content.count(b"/Type /Page\n") == 2


def test_a_picture_that_is_gone_is_said_to_be(filled: TestClient, core: Core) -> None:
    answer = ask(filled, "a red coat", limit=4)
    for path in core.settings.images_dir.rglob("*.jpg"):
        path.unlink()
    page = results(filled, answer["query_id"], format="html").text
    assert page.count("The picture is not there any more.") == 8
    assert results(filled, answer["query_id"], format="pdf").content.startswith(b"%PDF-")


def test_a_sheet_has_a_limit(filled: TestClient) -> None:
    query_id = ask(filled, "a red coat")["query_id"]
    for kind in ("html", "pdf"):
        refused = results(filled, query_id, format=kind, limit=100, images_per_identity=6)
        assert (refused.status_code, refused.json()["code"]) == (422, "results_too_large")
    assert results(filled, query_id, format="csv", limit=100, images_per_identity=20).status_code == 200
    assert results(filled, "0" * 32, format="csv").json()["code"] == "query_not_found"
    assert results(filled, query_id, format="docx").status_code == 422


def test_an_empty_answer_is_a_sheet_too(filled: TestClient) -> None:
    query_id = ask(filled, "a red coat", filters={"cameras": ["nowhere"]})["query_id"]
    assert rows(results(filled, query_id, format="csv").text) == []
    assert "No candidate was found." in results(filled, query_id, format="html").text
    assert results(filled, query_id, format="pdf").content.startswith(b"%PDF-")
