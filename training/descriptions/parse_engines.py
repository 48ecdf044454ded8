"""Who parses the captions: the rules that need nothing, or spaCy where it is installed."""

from typing import Any, Literal

from models.descriptions import SceneGraph, parse
from models.descriptions.dependencies import graph_of
from training.descriptions.parsed_captions import Parser
from training.errors import ParserError

Engine = Literal["rules", "spacy"]


def build_parser(engine: Engine, *, spacy_model: str = "en_core_web_sm") -> Parser:
    """The parser of that name.

    Args:
        spacy_model: name of an installed spaCy package, or the path of its folder.

    Raises:
        ParserError: spaCy or its model is not installed, or the model has no dependency parser.
    """
    return parse if engine == "rules" else _spacy(spacy_model)


def _spacy(name: str) -> Parser:
    try:
        import spacy
    except ImportError as error:
        raise ParserError(
            "--engine spacy needs spaCy: uv pip install -c constraints.txt -e '.[cpu,spacy]', or take --engine rules"
        ) from error
    try:
        language: Any = spacy.load(name)
    except OSError as error:
        raise ParserError(
            f"the spaCy model {name!r} is not installed: python -m spacy download {name}, or give the path of one with "
            "--spacy-model"
        ) from error
    if not {"parser", "tagger"} <= set(language.pipe_names):
        raise ParserError(f"the spaCy model {name!r} has no dependency parser and tagger; en_core_web_sm has")

    def parsed(text: str) -> SceneGraph:
        return graph_of(text, list(language(text)))

    return parsed
