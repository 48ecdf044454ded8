"""What records of one data set are checked for: ids, and what is written about them."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from training.datasets.report import NAMED, Findings
from training.records import SPLITS, Record, Split

# What no sentence about a person holds: markup, programs, addresses, line breaks.
_CODE = re.compile(r"[<>{}\[\]\\|^~`$=_#@\r\n\t]|://|\bwww\.")
_WIDTH = 60
By = Mapping[Split, Sequence[Record]]


def check_disjoint(records: By, findings: Findings) -> None:
    """No identity may stand in two splits: what was trained on would be measured on."""
    people = {
        split: {record.identity for record in records.get(split, ()) if not record.distractor} for split in SPLITS
    }
    for first, second in combinations(SPLITS, 2):
        both = sorted(people[first] & people[second])
        if both:
            some = ", ".join(map(str, both[:NAMED]))
            message = f"{len(both):,} ids stand in {first} and in {second}, e.g. {some}"
            findings.add("identity_in_two_splits", "error", message, count=len(both))


def check_identities(train: Sequence[Record], first: int, findings: Findings) -> None:
    """The ids of train run from `first` without gaps in the published sets (other codes insist on it)."""
    ids = sorted({record.identity for record in train})
    if not ids or ids == list(range(first, first + len(ids))):
        return
    expected = set(range(first, first + len(ids)))
    gaps = sorted(expected - set(ids))
    message = (
        f"train ids run from {ids[0]} to {ids[-1]}, expected {first} to {first + len(ids) - 1} without gaps; "
        f"{len(gaps):,} of these are absent"
    )
    findings.add("identities_not_contiguous", "warning", message, map(str, gaps), count=len(gaps))


def check_texts(records: By, findings: Findings) -> None:
    """Descriptions that are shared by several people, that are none, or that hold what is no plain English."""
    people: dict[str, set[int]] = defaultdict(set)
    spelled: dict[str, str] = {}
    strange: dict[str, list[str]] = {"description_non_ascii": [], "description_code": []}
    wordless: list[str] = []
    for split in SPLITS:
        for record in records.get(split, ()):
            if not record.descriptions:
                wordless.append(record.path.name)
            for text in record.descriptions:
                key = " ".join(text.casefold().split())
                people[key].add(record.identity)
                spelled.setdefault(key, text)
                where = f"{record.path.name}: {_short(text)}"
                if not text.isascii():
                    strange["description_non_ascii"].append(where)
                if _CODE.search(text):
                    strange["description_code"].append(where)
    shared = [
        f"{_short(spelled[key])} (ids {', '.join(map(str, sorted(ids)[:NAMED]))})"
        for key, ids in people.items()
        if len(ids) > 1
    ]
    for kind, found, words in (
        ("description_shared", shared, "descriptions stand under several ids"),
        ("description_missing", wordless, "images have no description"),
        ("description_non_ascii", strange["description_non_ascii"], "descriptions hold characters beyond ASCII"),
        ("description_code", strange["description_code"], "descriptions hold fragments of code or markup"),
    ):
        if found:
            findings.add(kind, "warning", f"{len(found):,} {words}", found)


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= _WIDTH else plain[: _WIDTH - 1] + "…")
