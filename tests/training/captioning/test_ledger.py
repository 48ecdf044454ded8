"""The file: kills, damage, two writers; and what its reader gives to training."""

import resource
from pathlib import Path

import pytest

from training.captioning import PersonTexts, load_descriptions, texts_of
from training.captioning.ledger import Key, Ledger, Prices, Usage, read_counts
from training.errors import DescriptionsError
from training.records import Record

KEY, OTHER = Key("a" * 64, "p1", "m", "plain"), Key("b" * 64, "p1", "m", "plain")
USAGE = Usage(100, 10)


def written(file: Path) -> Path:
    """Two images; one finished at the second answer, one given up."""
    ledger = Ledger(file)
    ledger.image(KEY.image, "x/a.jpg")
    ledger.image(KEY.image, "x/a.jpg")
    ledger.image(OTHER.image, "x/b.jpg")
    ledger.answered(ledger.asked(KEY), KEY, USAGE, 0.5, reason="too short")
    ledger.errored(ledger.asked(OTHER), OTHER, "no answer", may_be_billed=True)
    ledger.answered(ledger.asked(KEY), KEY, USAGE, 0.5, texts=("A man.", "A shirt."))
    ledger.failed(OTHER, "unreachable", "no answer")
    ledger.close()
    return file


def test_counts_are_the_same_when_the_file_is_read_again(tmp_path: Path) -> None:
    file = written(tmp_path / "d.jsonl")
    live = Ledger(file)
    live.close()
    counts = read_counts(file)
    assert counts.totals == live.counts.totals
    totals = counts.totals
    assert (totals.images, totals.finished, totals.failed, totals.requests, totals.answers) == (2, 1, 1, 3, 2)
    assert (totals.rejected, totals.errors, totals.unanswered, totals.may_be_billed) == (1, 1, 0, 1)
    assert (totals.tokens_in, totals.tokens_out, totals.cost) == (200, 20, 1.0)
    assert (counts.spent[KEY].requests, counts.spent[KEY].tokens_in, counts.spent[KEY].cost) == (2, 200, 1.0)
    assert counts.spent[OTHER].requests == 1
    assert Prices(2.0, 10.0).cost(Usage(500_000, 100_000)) == 2.0


def test_a_file_cut_at_any_byte_can_be_gone_on_with(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.jsonl").read_bytes()
    file = tmp_path / "cut.jsonl"
    ends = [0, *(place + 1 for place, byte in enumerate(whole) if byte == ord("\n"))]
    for length in range(0, len(whole) + 1, 13):
        file.write_bytes(whole[:length])
        load_descriptions(file)
        ledger = Ledger(file)
        assert ledger.cut == (length not in ends)
        ledger.image("c" * 64, "x/c.jpg")
        ledger.close()
        kept = whole[: max(end for end in ends if end <= length)]
        assert file.read_bytes().startswith(kept)
        assert read_counts(file).paths["x/c.jpg"] == "c" * 64


def test_requests_without_an_end_are_counted_as_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "d.jsonl")
    ledger.asked(KEY)
    ledger.close()
    again = Ledger(tmp_path / "d.jsonl")
    assert (again.lost, again.asked(KEY), again.counts.totals.unanswered) == (1, 2, 2)
    again.close()


def test_damage_is_named_by_its_line(tmp_path: Path) -> None:
    file = written(tmp_path / "d.jsonl")
    lines = file.read_text().splitlines()
    for damaged in ('{"event": "ans', "[]", '{"event": "answer", "accepted": true}', '{"event": 3}'):
        file.write_text("\n".join([*lines[:2], damaged, *lines[2:]]) + "\n")
        with pytest.raises(DescriptionsError, match="line 3 of"):
            load_descriptions(file)
        with pytest.raises(DescriptionsError, match="line 3 of"):
            Ledger(file)
    with pytest.raises(DescriptionsError, match="cannot be read"):
        load_descriptions(tmp_path / "none.jsonl")


def test_one_process_writes(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "d.jsonl")
    with pytest.raises(DescriptionsError, match="another process writes"):
        Ledger(tmp_path / "d.jsonl")
    first.close()
    Ledger(tmp_path / "d.jsonl").close()


def test_a_disk_that_fills_up_is_said_and_loses_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "d.jsonl")
    whole = file.read_bytes()
    ledger = Ledger(file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 40, hard))
    try:
        with pytest.raises(DescriptionsError, match="cannot be written"):
            ledger.asked(OTHER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ledger.close()
    assert len(file.read_bytes()) == len(whole) + 40  # a half line, as a full disk leaves it
    again = Ledger(file)
    again.close()
    assert (again.cut, again.lost, file.read_bytes()) == (True, 0, whole)


def test_training_reads_texts_by_the_path_of_a_record(tmp_path: Path) -> None:
    file, root = written(tmp_path / "d.jsonl"), tmp_path / "set"
    ledger = Ledger(file)
    ledger.by_rules(Key(KEY.image, "split-1", "rules", "caption-0"), "A boy.", "")
    ledger.answered(ledger.asked(KEY), KEY, None, None, texts=("A tall man.", "A coat."))
    ledger.close()
    described = load_descriptions(file, root)
    ours = PersonTexts("A tall man.", "A coat.", "plain", "m", "p1")
    rules = PersonTexts("A boy.", "", "caption-0", "rules", "split-1")
    assert described == {root / "x/a.jpg": (ours, rules)}
    records = [Record(root / "x/b.jpg", 0, ()), Record(root / "x/a.jpg", 1, ())]
    assert texts_of(records, described) == [(), (ours, rules)]
    assert load_descriptions(file) == {Path("x/a.jpg"): (ours, rules)}
