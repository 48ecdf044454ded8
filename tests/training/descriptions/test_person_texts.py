"""Identity and clothing texts of pairs: by rules, from a file, and what is missing in it."""

import json
import logging
from pathlib import Path

import pytest

from training.captioning import PersonTexts
from training.descriptions.person_texts import pair_texts, read_pair_texts
from training.errors import DescriptionsError, TrainingError
from training.records import Record

CAPTION = "A young woman with long black hair wearing a red jacket and blue jeans."


def record(root: Path, name: str, *captions: str) -> Record:
    return Record(root / name, 0, captions or (CAPTION,))


def write(file: Path, rows: list[tuple[str, str, str, str, str]]) -> Path:
    """Rows of image, model, style, identity, clothing."""
    lines: list[dict[str, object]] = [{"event": "image", "image": f"sha-{row[0]}", "path": row[0]} for row in rows]
    for path, model, style, identity, clothing in rows:
        answer = {"event": "answer", "image": f"sha-{path}", "prompt": "1", "model": model, "style": style}
        lines.append(answer | {"accepted": True, "identity": identity, "clothing": clothing})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_without_a_file_captions_are_split_by_rules(tmp_path: Path) -> None:
    texts = read_pair_texts([record(tmp_path, "a.jpg", CAPTION, "A man.")], None, tmp_path)
    assert "woman" in texts.identity[0]
    assert "hair" in texts.identity[0]
    assert "jacket" not in texts.identity[0]
    assert "red jacket" in texts.clothing[0]
    assert "hair" not in texts.clothing[0]
    assert texts.clothing[1] == "A man."  # nothing of clothes in it: the caption stands in
    assert texts.generated == (False, False)


def test_a_models_texts_are_taken_in_turn_and_rules_by_the_captions_number(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "gpt", "plain", "tall woman", "red coat"),
        ("a.jpg", "gpt", "terse", "woman", "coat"),
        ("b.jpg", "rules", "caption-1", "second person", "second clothes"),
    ]
    file = write(tmp_path / "texts.jsonl", rows)
    records = [record(tmp_path, "a.jpg", "one", "two", "three"), record(tmp_path, "b.jpg", CAPTION, "other")]
    texts = read_pair_texts(records, file, tmp_path)
    assert texts.identity[:3] == ("tall woman", "woman", "tall woman")
    assert texts.clothing[:3] == ("red coat", "coat", "red coat")
    assert texts.generated == (True, True, True, False, False)
    assert "red jacket" in texts.clothing[3]
    assert (texts.identity[4], texts.clothing[4]) == ("second person", "second clothes")


def test_a_file_that_lacks_images_is_told_and_one_without_any_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "texts.jsonl", [("a.jpg", "gpt", "plain", "a woman", "a coat")])
    with caplog.at_level(logging.WARNING):
        texts = read_pair_texts([record(tmp_path, "a.jpg"), record(tmp_path, "b.jpg")], file, tmp_path)
    assert texts.generated == (True, False)
    assert "lacks 1 of 2 train images" in caplog.text
    with pytest.raises(TrainingError, match="describes none of the 1 train images"):
        read_pair_texts([record(tmp_path, "b.jpg")], file, tmp_path)
    with pytest.raises(DescriptionsError, match="cannot be read"):
        read_pair_texts([record(tmp_path, "b.jpg")], tmp_path / "no.jsonl", tmp_path)


def test_other_texts_have_another_fingerprint(tmp_path: Path) -> None:
    records = [record(tmp_path, "a.jpg")]
    one = pair_texts(records, {})
    other = pair_texts(records, {tmp_path / "a.jpg": (PersonTexts("a woman", "a coat", "plain", "gpt", "1"),)})
    assert one.fingerprint == pair_texts(records, {}).fingerprint != other.fingerprint
    assert 0 <= one.fingerprint < 1 << 63
