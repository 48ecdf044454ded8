"""What the service makes of descriptions: languages, denials, and ends that do not fit."""

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


def test_a_denied_thing_is_not_searched_for(filled: TestClient) -> None:  # noqa: F811
    plain = ask(filled, "a person in a red coat")
    steered = ask(filled, "a person in a red coat without a blue coat")
    assert [w["code"] for w in steered["warnings"]] == ["negation_steered"]
    assert "“blue coat”" in steered["warnings"][0]["message"]
    assert "`negatives`" in steered["warnings"][0]["message"]
    assert plain["candidates"][0]["parts"] is None
    parts = {found["identity"]["external_id"]: found["parts"] for found in steered["candidates"]}
    assert steered["candidates"][0]["identity"]["external_id"] == "red"
    assert [part["negative"] for part in parts["red"]] == [False, True]
    assert parts["blue"][1]["contribution"] < parts["red"][1]["contribution"]
    assert plain["warnings"] == []


def test_what_did_not_fit_is_named(filled: TestClient) -> None:  # noqa: F811
    answer = ask(filled, "a person " + "wearing red in " * 6 + "a yellow coat")
    (warning,) = answer["warnings"]
    assert warning["code"] == "query_truncated"
    assert warning["message"].endswith("“in wearing red in a yellow coat”")
