"""`python -m training describe ...`: descriptions of the person and of the clothes, for images of a data set."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.events import progress_bar

if TYPE_CHECKING:
    from training.captioning.asking import Limits
    from training.captioning.client import Endpoint
    from training.captioning.ledger import Ledger, Prices
    from training.captioning.prompts import Style
    from training.captioning.styles import Embed
    from training.records import Record

describe = typer.Typer(no_args_is_help=True, help="Identity and clothing descriptions of images.")

Data = Annotated[Path, typer.Option(help="Folder of the data set.")]
Format = Annotated[str, typer.Option("--format", help="On-disk format of the data set.")]
SplitName = Annotated[str, typer.Option(help="train, val or test.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
File = Annotated[Path, typer.Option("--out", help="File of descriptions; goes on where it ends.")]
UNFINISHED = 3
"""Exit status: the budget stopped the run, or images were given up."""


@describe.command("ask")
def ask(
    data: Data,
    out: File,
    url: Annotated[str, typer.Option(envvar="DESCRY_DESCRIBE_URL", help="Base address, such as http://host/v1.")],
    model: Annotated[str, typer.Option(envvar="DESCRY_DESCRIBE_MODEL", help="The model's name at the endpoint.")],
    key_file: Annotated[Path | None, typer.Option(help="File with the key, instead of DESCRY_DESCRIBE_KEY.")] = None,
    send_to: Annotated[
        str | None, typer.Option("--yes-send-images-to", metavar="HOST", help="Consent; not needed for loopback.")
    ] = None,
    format_name: Format = "cuhk_pedes",
    split: SplitName = "train",
    styles: Annotated[Path | None, typer.Option(help="File of `describe styles`; default one plain style.")] = None,
    styles_per_image: int = 1,
    retry_failed: Annotated[bool, typer.Option(help="Also ask again for what was rejected or refused.")] = False,
    price_in: Annotated[float | None, typer.Option(help="Money for a million tokens sent.")] = None,
    price_out: Annotated[float | None, typer.Option(help="Money for a million tokens received.")] = None,
    budget: Annotated[float | None, typer.Option(help="Stop before the file has cost more than this.")] = None,
    images: Annotated[int | None, typer.Option(help="At most so many descriptions in this run.")] = None,
    concurrency: int = 8,
    per_minute: Annotated[float | None, typer.Option(help="At most so many requests a minute.")] = None,
    reasks: Annotated[int, typer.Option(help="How often a rejected answer is asked for again.")] = 3,
    repeats: Annotated[int, typer.Option(help="How often a request without an answer is repeated.")] = 5,
    first_wait: Annotated[float, typer.Option(help="Seconds before the first repeat; doubled each time.")] = 1.0,
    patience: Annotated[float, typer.Option(help="The longest Retry-After to wait for, in seconds.")] = 300.0,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.")] = 120.0,
    most_side: Annotated[int, typer.Option(help="Pixels of the longer side of pictures as sent.")] = 768,
    most_tokens: Annotated[int, typer.Option(help="Limit of an answer's length.")] = 600,
    temperature: float = 0.7,
    json_object: Annotated[bool, typer.Option(help="Ask for response_format json_object.")] = False,
    seed: Annotated[int, typer.Option(help="Spreads the waits between repeats.")] = 0,
    as_json: Json = False,
) -> None:
    """Ask an OpenAI-compatible endpoint about each image. Give the same command again to go on."""
    from training.captioning.asking import Limits
    from training.captioning.client import Endpoint, check_consent, read_key
    from training.captioning.prompts import PLAIN
    from training.captioning.styles import read_styles

    local, key = check_consent(url, send_to), read_key(key_file)
    if key and not local and url.startswith("http://"):
        _say("warning: the key and the pictures go over an unencrypted connection (http)")
    try:
        limits = Limits(concurrency, per_minute, images, budget, reasks, repeats, first_wait, patience, most_side)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    run = _Run(
        Endpoint(url, model, key, timeout, most_tokens, temperature, json_object),
        limits,
        _prices(price_in, price_out),
        read_styles(styles) if styles else [PLAIN],
        styles_per_image,
    )
    records = _records(data, format_name, split)
    with _ledger(out) as ledger:
        stopped = run.ask(ledger, _hashed(ledger, records, data), retry_failed=retry_failed, local=local, seed=seed)
        totals, lost = ledger.counts.totals, ledger.lost
    result = {"file": str(out), "stopped": stopped, "lost_before": lost, **totals.to_dict()}
    _print(result, as_json, _words(totals.to_dict(), stopped))
    if totals.failed or (budget is not None and stopped):
        raise typer.Exit(UNFINISHED)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the options of `ask` come to."""

    endpoint: "Endpoint"
    limits: "Limits"
    prices: "Prices | None"
    styles: "list[Style]"
    styles_per_image: int

    def ask(
        self, ledger: "Ledger", images: list[tuple[str, Path]], *, retry_failed: bool, local: bool, seed: int
    ) -> str:
        """Ask for what is left; returns why anything is left after that."""
        from training.captioning.asking import Describer, open_tasks
        from training.captioning.styles import styles_of

        def chosen(image: str) -> "list[Style]":
            return styles_of(image, self.styles, self.styles_per_image)

        tasks = open_tasks(ledger, images, self.endpoint.model, chosen, retry_failed=retry_failed)
        rng = random.Random(seed)
        with progress_bar("describing") as advance:
            describer = Describer(
                self.endpoint, ledger, self.limits, prices=self.prices, local=local, rng=rng, progress=advance
            )
            asyncio.run(describer.run(tasks))
        return describer.stopped


@describe.command("split")
def split_captions(
    data: Data, out: File, format_name: Format = "cuhk_pedes", split: SplitName = "train", as_json: Json = False
) -> None:
    """Without an endpoint: split the captions that are there into person and clothes, by rules."""
    from training.captioning.ledger import Key
    from training.captioning.split import RULES, SPLIT_VERSION, split_description

    records, empty = _records(data, format_name, split), {"identity": 0, "clothing": 0}
    with _ledger(out) as ledger, progress_bar("splitting") as advance:
        hashed = _hashed(ledger, records, data)
        for done, (record, (image, _)) in enumerate(zip(records, hashed, strict=True), start=1):
            for number, text in enumerate(record.descriptions):
                key = Key(image, SPLIT_VERSION, RULES, f"caption-{number}")
                if key not in ledger.counts.done:
                    texts = split_description(text)
                    ledger.by_rules(key, texts.identity, texts.clothing)
                    empty["identity"] += not texts.identity
                    empty["clothing"] += not texts.clothing
            advance(done, len(records), "")
        result = {"file": str(out), "finished": ledger.counts.totals.finished, "empty": empty}
    words = f"{result['finished']:,} captions are split in {out}; new ones without identity: {empty['identity']:,}, "
    _print(result, as_json, words + f"without clothing: {empty['clothing']:,}")


@describe.command("styles")
def styles_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="JSON file for `describe ask --styles`.")],
    encoder: Annotated[
        Path | None, typer.Option(help="Checkpoint whose text encoder embeds; default the demo's.")
    ] = None,
    format_name: Format = "cuhk_pedes",
    split: SplitName = "train",
    eps: Annotated[float | None, typer.Option(help="DBSCAN's radius; default the knee of the k-distances.")] = None,
    min_samples: int = 5,
    least_share: Annotated[float, typer.Option(help="Smaller clusters are merged into the nearest.")] = 0.01,
    examples: Annotated[int, typer.Option(help="Captions in a style's prompt.")] = 5,
    sample: Annotated[int, typer.Option(help="Captions that are clustered, at most.")] = 20_000,
    neutralise: Annotated[bool, typer.Option(help="Replace the words of the content first.")] = True,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Find manners of writing among the captions, and make a prompt of each."""
    from training.captioning.styles import find_styles, write_styles

    texts = [text for record in _records(data, format_name, split) for text in record.descriptions]
    found, report = find_styles(
        texts,
        _text_encoder(encoder),
        seed=seed,
        sample=sample,
        eps=eps,
        min_samples=min_samples,
        least_share=least_share,
        examples=examples,
        neutralise=neutralise,
    )
    write_styles(out, found, report)
    words = (
        f"{len(found)} styles of {report['captions']:,} captions, sizes {report['sizes']}; eps {report['eps']:.4f}, "
    )
    words += f"{report['noise_reassigned']:,} of noise reassigned, {report['merged']:,} in small clusters merged"
    _print({"file": str(out), **report}, as_json, f"{words}: {out}")


@describe.command("totals")
def totals_of(
    file: Annotated[Path, typer.Argument(help="File of descriptions.")],
    per_image: Annotated[
        Path | None, typer.Option(help="CSV file for requests, tokens and cost of each image.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a file holds and what it cost, over all runs."""
    from training.captioning.ledger import read_counts

    counts = read_counts(file)
    if per_image:
        rows = ["image,prompt,model,style,requests,tokens_in,tokens_out,cost"]
        for key, spent in counts.spent.items():
            numbers = f"{spent.requests},{spent.tokens_in},{spent.tokens_out},{spent.cost:.6f}"
            quoted = key.model.replace('"', '""')
            rows.append(f'{key.image},{key.prompt},"{quoted}",{key.style},{numbers}')
        per_image.write_text("\n".join(rows) + "\n", encoding="utf-8")
    _print({"file": str(file), **counts.totals.to_dict()}, as_json, _words(counts.totals.to_dict(), ""))


@contextmanager
def _ledger(file: Path) -> "Iterator[Ledger]":
    from training.captioning.ledger import Ledger

    ledger = Ledger(file)
    if ledger.cut or ledger.lost:
        _say(f"going on after a run that was cut off: {ledger.lost} requests were under way; they may have been billed")
    try:
        yield ledger
    finally:
        ledger.close()


def _records(data: Path, format_name: str, split: str) -> "tuple[Record, ...]":
    from training.datasets import read_dataset
    from training.errors import DatasetError
    from training.records import SPLITS

    people = read_dataset(format_name, data)
    for known in SPLITS:
        if known == split:
            return people.splits[known]
    raise DatasetError(f"no split {split!r}; it is one of {', '.join(SPLITS)}")


def _hashed(ledger: "Ledger", records: "tuple[Record, ...]", root: Path) -> list[tuple[str, Path]]:
    """(SHA-256, file) of each record, in order; the file of descriptions learns where each picture lies."""
    from training.captioning.pictures import hashes

    paths = [record.path for record in records]
    with progress_bar("hashing") as advance:
        found = hashes(paths, lambda done: advance(done, len(paths), ""))
    for image, path in zip(found, paths, strict=True):
        ledger.image(image, path.relative_to(root).as_posix())
    return list(zip(found, paths, strict=True))


def _prices(price_in: float | None, price_out: float | None) -> "Prices | None":
    from training.captioning.ledger import Prices

    if price_in is None and price_out is None:
        return None
    if price_in is None or price_out is None or min(price_in, price_out) < 0:
        raise typer.BadParameter("--price-in and --price-out come together, and are not negative")
    return Prices(price_in, price_out)


def _text_encoder(folder: Path | None) -> "Embed":
    import models
    from models.checkpoint import load_checkpoint
    from training.captioning.styles import text_embedder

    return text_embedder(load_checkpoint(folder or Path(models.__file__).parent / "demo", device="cpu"))


def _words(totals: dict[str, Any], stopped: str) -> str:
    words = (
        f"{totals['finished']:,} described, {totals['failed']:,} given up; {totals['requests']:,} requests: "
        f"{totals['answers']:,} answered ({totals['rejected']:,} rejected), {totals['errors']:,} errors, "
        f"{totals['unanswered']:,} cut off; {totals['tokens_in']:,} tokens sent, {totals['tokens_out']:,} received, "
        f"cost {totals['cost']:.4f}"
    )
    if totals["unpriced"]:
        words += f" without {totals['unpriced']:,} answers that have no price"
    return f"{words}\nstopped: {stopped}" if stopped else words


def _print(result: dict[str, Any], as_json: bool, words: str) -> None:
    typer.echo(json.dumps(result) if as_json else words)


def _say(words: str) -> None:
    typer.echo(words, err=True)
