"""Answers as models give them: what can be read is read, what training must not see is named."""

import json

import pytest

from tests.training.captioning.endpoint import GOOD
from training.captioning.answers import RejectedError, read_answer
from training.captioning.checks import FEWEST_WORDS, MOST_WORDS, why_not_clothing, why_not_identity, why_not_syntax

PLAIN = json.dumps(GOOD)
READABLE = {
    "plain": PLAIN,
    "fenced": f"```json\n{json.dumps(GOOD, indent=2)}\n```",
    "in prose": f"Here is the description {{as asked}}:\n{PLAIN}\nAnything else?",
    "trailing comma": PLAIN.replace("}", ",}"),
    "curly quotes": PLAIN.replace('"identity"', "\u201cidentity\u201d").replace('"clothing"', "\u201cclothing\u201d"),
    "no closing brace": PLAIN[:-1],
    "no braces": PLAIN[1:-1],
    "unknown field": json.dumps({"thoughts": {"a": [1]}, **GOOD}),
    "other names": json.dumps({"Identity Description": GOOD["identity"], "clothes": GOOD["clothing"]}),
    "spaces around": json.dumps({name: f"  {text}\n" for name, text in GOOD.items()}),
    "broken elsewhere": PLAIN.replace("{", '{"note": "an "unescaped" word", ', 1),
    "two objects": '{"note": "none"} ' + PLAIN,
}


@pytest.mark.parametrize("name", READABLE)
def test_slips_of_form_are_forgiven(name: str) -> None:
    assert read_answer(READABLE[name]) == (GOOD["identity"], GOOD["clothing"])


REJECTED = {
    "": "the answer is empty",
    "   \n": "the answer is empty",
    "no": "the answer is no JSON object",
    "[1, 2": "the answer is no JSON object",
    "{" * 5000: "the answer is no JSON object",
    json.dumps({"identity": GOOD["identity"], "clothing": 7}): "the field 'clothing' is missing",
    json.dumps({"identity": "", "clothing": GOOD["clothing"]}): "the field 'identity' is missing",
    "I can\u2019t help with describing people.": "the model refused",
    json.dumps({**GOOD, "identity": "I'm sorry, I am unable to describe this person at all."}): "the model refused",
    json.dumps({**GOOD, "clothing": "A <b>red</b> shirt and a pair of blue jeans with shoes."}): "the character '<'",
    json.dumps({**GOOD, "identity": "一位年轻女子,身材苗条,留着棕色长发,正在走路。"}): "is not in English",
    json.dumps({**GOOD, "clothing": "Red shirt, blue jeans."}): "has 4 words",
}


@pytest.mark.parametrize("text", REJECTED)
def test_what_training_must_not_read_is_rejected_with_a_reason(text: str) -> None:
    with pytest.raises(RejectedError, match=REJECTED[text]):
        read_answer(text)


def test_an_answer_that_was_cut_says_so() -> None:
    with pytest.raises(RejectedError, match="'clothing' is missing, the answer was cut off"):
        read_answer(PLAIN[:-20], cut=True)
    with pytest.raises(RejectedError, match="the model refused: not allowed"):
        read_answer(None, refusal="not allowed")


def test_lengths_are_checked_at_the_word() -> None:
    for count, fits in ((FEWEST_WORDS - 1, False), (FEWEST_WORDS, True), (MOST_WORDS, True), (MOST_WORDS + 1, False)):
        assert (why_not_syntax(" ".join(["the person"] * (count // 2) + ["the"] * (count % 2))) is None) == fits


@pytest.mark.parametrize(
    "text",
    [
        "A middle-aged man of heavy build with a short grey beard.",
        "An elderly woman with white hair tied on top of her head, walking slowly.",
        "The person is tall and slim and stands upright with a calm posture.",
        "A long-haired girl of about ten years with a round face.",
    ],
)
def test_descriptions_of_the_person_pass(text: str) -> None:
    assert why_not_identity(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A young man with short black hair and round glasses.", "glasses"),
        ("A young woman with long hair in a t-shirt and sandals.", "shirt"),
        ("A tall man with a beard who is wearing something dark.", "wearing"),
        ("A tall man with a beard who carries two bags along.", "bags"),
        ("Tall and slim with short black hair and a beard.", "neither sex nor age"),
        ("A person is seen from the side in the street there.", "nothing of build"),
    ],
)
def test_descriptions_of_the_person_that_are_none_are_rejected(text: str, reason: str) -> None:
    assert reason in (why_not_identity(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "A white shirt with long sleeves and a pair of black trousers.",
        "A long green dress with a floral pattern and brown sandals.",
        "A black winter jacket; the lower body is not visible in the picture.",
        "The upper body is hidden by a wall. The trousers are blue.",
        "A blue suit with a white shirt and a red tie.",
    ],
)
def test_descriptions_of_the_clothes_pass(text: str) -> None:
    assert why_not_clothing(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A white shirt with long sleeves and a pair of brown shoes.", "no lower garment"),
        ("The trousers are blue and the shoes are of brown leather.", "no upper garment"),
        ("The shoes are of brown leather, and there is a black bag.", "no upper and no lower garment"),
        ("A white shirt is worn and the logo on it is not visible.", "no lower garment"),
    ],
)
def test_descriptions_of_the_clothes_name_both_garments(text: str, reason: str) -> None:
    assert reason in (why_not_clothing(text) or "")
