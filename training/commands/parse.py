"""`python -m training parse`: the captions of a data set as `<set>_parsed_captions.json`."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from training.events import progress_bar


def parse(
    data: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    format_name: Annotated[str, typer.Option("--format", help="On-disk format of the data set.")] = "cuhk_pedes",
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    out: Annotated[Path | None, typer.Option(help="Default DATA/<set>_parsed_captions.json.")] = None,
    engine: Annotated[Literal["rules", "spacy"], typer.Option(help="spacy needs the extra of that name.")] = "rules",
    spacy_model: Annotated[str, typer.Option(help="An installed spaCy model, or its folder.")] = "en_core_web_sm",
    include_determiners: Annotated[
        bool, typer.Option("--include-determiners", help="Articles and numbers are attributes, as in HKGR's figure.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option(help="Write nothing: check this file, of Descry or another parser.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on with the images that are there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find objects, attributes and relations in the captions of a split, for HKGR's masking; write them, read them
    back and count them."""
    from training.datasets import read_dataset
    from training.descriptions.parse_engines import build_parser
    from training.descriptions.parsed_captions import SUFFIX, load_parsed, summary, write_parsed
    from training.errors import DatasetError
    from training.records import SPLITS, pairs_of

    chosen = next((known for known in SPLITS if known == split), None)
    if chosen is None:
        raise DatasetError(f"no split {split!r}; it is one of {', '.join(SPLITS)}")
    people = read_dataset(format_name, data, allow_missing=allow_missing)
    for note in people.notes:
        typer.echo(note, err=True)
    captions = [text for _, text in pairs_of(people.splits[chosen])]
    if not captions:
        raise DatasetError(f"{people.name} has no descriptions in its {split} split; there is nothing to parse")
    path = check or out or data / f"{people.name}{SUFFIX}"
    if check is None:
        parser = build_parser(engine, spacy_model=spacy_model)
        with progress_bar(f"parsing {split}") as advance:

            def told(number: int, text: str) -> str:
                advance(number, len(captions), "")
                return text

            graphs = (parser(told(number, text)) for number, text in enumerate(captions, 1))
            write_parsed(path, graphs, determiners=include_determiners)
    result = {"file": str(path), **summary(load_parsed(path, captions))}
    words = "{file}: {captions:,} captions, {object:,} objects, {attribute:,} attributes, {relation:,} relations"
    rest = "; {empty:,} captions without any; {unmatched:,} phrases not found in their captions"
    typer.echo(json.dumps(result) if as_json else (words + rest).format(**result))
