"""Files of parsed captions: written, read back, refused; and the verb that makes them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.descriptions import LEVELS, SceneGraph, parse
from tests.training.miniature import write_icfg, write_market
from tests.waiting import PROCESS_S
from training.descriptions.parse_engines import build_parser
from training.descriptions.parsed_captions import FOUND_AT_LEAST, load_parsed, summary, write_parsed
from training.errors import ParsedCaptionsError, ParserError

CAPTIONS = [
    "A man wearing a red shirt and blue jeans.",
    "She carries no bag, and has long hair.",
    "",
    "The red shirt of a man in a red hat \u2013 caf\u00e9.",
]
ROW = {"object": ["man", "shirt"], "attribute": ["red"], "relation": ["wearing"]}


def written(folder: Path, rows: object) -> Path:
    path = folder / "made_parsed_captions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def refusal(path: Path, captions: list[str], *, subset: bool = False) -> str:
    with pytest.raises(ParsedCaptionsError) as caught:
        load_parsed(path, captions, subset=subset)
    assert caught.value.code == "parsed_captions_invalid"
    return caught.value.message


@pytest.mark.parametrize("determiners", [False, True])
def test_what_is_written_is_read_back(tmp_path: Path, determiners: bool) -> None:
    path = tmp_path / "new" / "set_parsed_captions.json"
    graphs = [parse(text) for text in CAPTIONS]
    write_parsed(path, graphs, determiners=determiners)
    read = load_parsed(path, CAPTIONS)
    for graph, one in zip(graphs, read, strict=True):
        assert one.text == graph.text
        for level in LEVELS:
            assert one.spans(level) == graph.spans(level, determiners=determiners)
            assert one.spans(level, determiners=True) == graph.spans(level, determiners=True)
            assert one.phrases(level) == graph.phrases(level, determiners=determiners)
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert summary(read)["captions"] == 4
    assert summary(read)["empty"] == 1


def test_rows_have_the_contracts_fields(tmp_path: Path) -> None:
    write_parsed(tmp_path / "a.json", [parse(CAPTIONS[0])])
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert rows[0]["caption"] == CAPTIONS[0]
    assert rows[0]["object"] == ["man", "shirt", "jeans"]
    assert rows[0]["attribute"] == ["red", "blue"]
    assert rows[0]["relation"] == ["wearing"]
    assert rows[0]["spans"]["attribute"] == [[16, 19], [30, 34]]
    write_parsed(tmp_path / "b.json", [])
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == []


def test_a_parser_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_parsed(path, [parse("A hat")])
    before = path.read_bytes()

    def failing() -> Iterator[SceneGraph]:
        yield parse("A shirt")
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        write_parsed(path, failing())
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_phrases_of_other_parsers_are_found_in_the_caption(tmp_path: Path) -> None:
    rows = [
        {"object": ["Shirt", "man", "scarf"], "attribute": ["red", "the"], "relation": ["in  front of"], "extra": 1}
    ]
    caption = "The red shirt of a man in front of reddish shirts; a SHIRT, red"
    assert 1 - FOUND_AT_LEAST > 1 / 6
    one = load_parsed(written(tmp_path, rows), [caption])[0]
    assert one.phrases("object") == ("shirt", "man", "SHIRT")
    assert one.phrases("attribute") == ("The", "red", "red")
    assert one.phrases("relation") == ("in front of",)
    assert one.unmatched == ("scarf",)


def test_a_file_of_other_captions_is_refused(tmp_path: Path) -> None:
    foreign = written(tmp_path, [ROW, ROW])
    fitting = "a man wearing a red shirt"
    assert [one.unmatched for one in load_parsed(foreign, [fitting, fitting.upper()])] == [(), ()]
    assert "4 of its 8 phrases are not in their captions" in refusal(foreign, [fitting, "A green dress"])
    assert "has 2 rows for 3 captions" in refusal(foreign, ["a", "b", "c"])
    named = written(tmp_path, [{**ROW, "caption": "A man wearing a red shirt"}])
    assert "row 0 is of the caption 'A man wearing a red shirt'" in refusal(named, ["A woman wearing a red shirt"])
    assert load_parsed(named, ["A man wearing a red shirt "])[0].phrases("object") == ("man", "shirt")


def broken_spans(name: str, places: object) -> list[dict[str, Any]]:
    row = {"caption": CAPTIONS[0]} | parse(CAPTIONS[0]).to_row()
    return [row | {"spans": row["spans"] | {name: places}}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"object": []}, "Input should be a valid array"),
        ([{"object": [], "attribute": []}], "row 0, relation: Field required"),
        ([ROW | {"object": "man"}], "row 0, object: Input should be a valid array"),
        (broken_spans("object", [[2, 5]]), "row 0, object: the spans are not those of the phrases"),
        (broken_spans("attribute", [[16, 19], [30, 400]]), "the span [30, 400] is not within the 41 characters"),
        (broken_spans("attribute", [[16, 16], [30, 34]]), "the span [16, 16] is not within"),
        (broken_spans("relation", [[-6, 13]]), "greater than or equal to 0"),
        (broken_spans("relation", [[6]]), "row 0, spans, relation"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, rows: object, words: str) -> None:
    assert words in refusal(written(tmp_path, rows), CAPTIONS[:1])


def test_files_that_are_no_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    assert "python -m training parse" in refusal(path, CAPTIONS)
    path.write_bytes(b'[{"object": ["m\xff')
    assert "is no file of parsed captions" in refusal(path, CAPTIONS)


def test_a_subset_is_found_by_its_captions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_parsed(path, [parse(text) for text in CAPTIONS])
    chosen = [CAPTIONS[3], CAPTIONS[0], CAPTIONS[3]]
    assert [one.text for one in load_parsed(path, chosen, subset=True)] == chosen
    assert "has 4 rows for 2 captions" in refusal(path, CAPTIONS[:2])
    assert "no row for 1 captions, such as 'A cat'" in refusal(path, ["A cat", CAPTIONS[0]], subset=True)


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_captions_come_back(tmp_path_factory: pytest.TempPathFactory, captions: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.json"
    write_parsed(path, map(parse, captions))
    assert [one.text for one in load_parsed(path, captions)] == captions


def test_spacy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ParserError, match=r"cpu,spacy") as caught:
        build_parser("spacy")
    assert caught.value.code == "parser_unavailable"


@pytest.fixture(scope="module")
def verb(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "training", "parse", *words]
        cwd = tmp_path_factory.getbasetemp()
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=PROCESS_S)

    return run


def test_the_verb_writes_a_data_sets_file_and_checks_others(
    tmp_path: Path, verb: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    icfg = write_icfg(tmp_path / "ICFG-PEDES")
    done = verb(str(icfg), "--format", "icfg_pedes", "--include-determiners", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    path = icfg / "ICFG-PEDES_parsed_captions.json"
    assert result["file"] == str(path)
    assert result["captions"] == 12
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert rows[0]["caption"].startswith("A young person in red clothes")
    assert rows[0]["object"][:2] == ["person", "clothes"]
    assert rows[0]["attribute"][:3] == ["A", "young", "red"]
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps([{level: row[level] for level in LEVELS} for row in rows]))
    checked = verb(str(icfg), "--format", "icfg_pedes", "--check", str(foreign))
    assert checked.returncode == 0, checked.stderr
    assert "12 captions" in checked.stdout
    refused = verb(str(icfg), "--format", "icfg_pedes", "--split", "test", "--check", str(path))
    assert refused.returncode == 1
    assert "[parsed_captions_invalid]" in refused.stderr


def test_the_verb_refuses_what_has_no_captions(
    tmp_path: Path, verb: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    refused = verb(str(write_market(tmp_path / "market")), "--format", "market1501")
    assert refused.returncode == 1
    assert "nothing to parse" in refused.stderr
