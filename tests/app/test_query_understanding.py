"""What the service makes of descriptions: languages, denials, and ends that do not fit."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.errors import QueryLanguageUnsupportedError
from app.search.understanding import understand
from models.tokenizers import TokenizerSpec
from tests.app.test_search_api import ask, filled  # noqa: F401  a fixture
from tests.app.toy import WORDS

ENGLISH = TokenizerSpec("words", 16, WORDS)


@pytest.mark.parametrize(
    ("query", "code", "named"),
    [
        ("ein Mann in einer roten Jacke", "query_language_unsupported", "German"),
        ("un homme en veste rouge", "query_language_unsupported", "French"),
        ("穿红色外套的女人", "query_language_unsupported", "Chinese"),
        ("мужчина в красной куртке", "query_language_unsupported", "Russian"),
        ("رجل يرتدي سترة حمراء", "query_language_unsupported", "Arabic"),
        ("?!… 🙂", "query_not_understood", "no words"),
        ("12345", "query_not_understood", "no words"),
        ("punaisessa takissa oleva mies", "query_not_understood", "no English words"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_reason(
    filled: TestClient,  # noqa: F811
    query: str,
    code: str,
    named: str,
) -> None:
    response = filled.post("/v1/search/text", json={"query": query})
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert named in response.json()["detail"]


def test_a_model_with_words_of_another_language_is_asked_in_it() -> None:
    german = TokenizerSpec("words", 16, ("ein", "mann", "in", "einer", "roten", "jacke"))
    assert understand("ein Mann in einer roten Jacke", german).text == "ein Mann in einer roten Jacke"
    for tokenizer in (ENGLISH, TokenizerSpec("clip_bpe", 77)):
        with pytest.raises(QueryLanguageUnsupportedError, match="German"):
            understand("ein Mann in einer roten Jacke", tokenizer)


def test_words_in_other_letters_are_told_and_not_passed_over() -> None:
    english = TokenizerSpec("words", 16, (*WORDS, "man"))
    (told,) = understand("a man in a red coat שלום, 人物 and שלום, 3 🙂", english).warnings
    assert (told.code, told.message) == ("unknown_words", "not understood: שלום, 人物")
    both = understand("a man in a red coat, no hat, שלום", english)
    assert [one.code for one in both.warnings] == ["negation_steered", "unknown_words"]
    assert understand("a man in a red coat", english).warnings == ()
    assert understand("a man in a red coat שלום", TokenizerSpec("clip_bpe", 77)).warnings == ()


def score(answer: dict[str, Any], name: str) -> float:
    (found,) = [c["score"] for c in answer["candidates"] if c["identity"]["external_id"] == name]
    return float(found)


def test_a_denied_thing_is_searched_against(filled: TestClient) -> None:  # noqa: F811
    plain = ask(filled, "a person in a red coat", limit=100)
    steered = ask(filled, "a person in a red coat without a purple coat", limit=100)
    assert [w["code"] for w in steered["warnings"]] == ["negation_steered"]
    assert "“purple coat”" in steered["warnings"][0]["message"]
    body = {"parts": [{"text": "a person in a red coat"}], "negatives": [{"text": "purple coat"}], "limit": 100}
    same = filled.post("/v1/search/composed", json=body).json()
    assert steered["candidates"] == same["candidates"]
    assert score(steered, "purple") < score(plain, "purple")
    assert [part["negative"] for part in steered["candidates"][0]["parts"]] == [False, True]
    assert plain["warnings"] == []
    page = ask(filled, "a person in a red coat without a purple coat", limit=3)
    assert [c["identity"]["id"] for c in page["candidates"]] == [c["identity"]["id"] for c in steered["candidates"][:3]]
    more = ask(filled, "a person in a red coat without a purple coat", limit=3, cursor=page["next_cursor"])
    assert [c["identity"]["id"] for c in more["candidates"]] == [
        c["identity"]["id"] for c in steered["candidates"][3:6]
    ]


def test_parts_of_a_composed_search_are_read_likewise(filled: TestClient) -> None:  # noqa: F811
    def composed(**body: Any) -> Any:  # noqa: ANN401  JSON
        return filled.post("/v1/search/composed", json=body)

    answer = composed(parts=[{"text": "a red coat without a purple coat"}]).json()
    (warning,) = answer["warnings"]
    assert warning["code"] == "negation_steered"
    assert "“purple coat”" in warning["message"]
    refused = composed(parts=[{"text": "red coat"}, {"text": "un homme en veste rouge"}])
    assert (refused.status_code, refused.json()["code"]) == (422, "query_language_unsupported")
    assert "parts[1]" in refused.json()["detail"]
    assert composed(parts=[{"text": "red coat"}], negatives=[{"text": "без шапки"}]).json()["code"] == (
        "query_language_unsupported"
    )


def test_what_did_not_fit_is_named(filled: TestClient) -> None:  # noqa: F811
    answer = ask(filled, "a person " + "wearing red in " * 6 + "a yellow coat")
    (warning,) = answer["warnings"]
    assert warning["code"] == "query_truncated"
    assert warning["message"].endswith("“in wearing red in a yellow coat”")
