"""Sentences as spaCy's English models parse them, written by hand: word, label, head, part of speech."""

from dataclasses import dataclass

from models.descriptions import SceneGraph
from models.descriptions.dependencies import graph_of

RED_AND_WHITE = """
The det 1 DET
woman nsubj 3 NOUN
is aux 3 AUX
wearing ROOT 3 VERB
a det 9 DET
red amod 9 ADJ
and cc 5 CCONJ
white conj 5 ADJ
leather compound 9 NOUN
jacket dobj 3 NOUN
and cc 9 CCONJ
light amod 13 ADJ
blue amod 13 ADJ
jeans conj 9 NOUN
"""
STANDING = """
Two nummod 1 NUM
ladies ROOT 1 NOUN
standing acl 1 VERB
in prep 2 ADP
front pobj 3 NOUN
of prep 4 ADP
a det 7 DET
fence pobj 5 NOUN
with prep 1 ADP
no det 10 DET
hats pobj 8 NOUN
or cc 10 CCONJ
bags conj 10 NOUN
"""
HAIR = """
Her poss 1 PRON
hair nsubj 2 NOUN
is ROOT 2 AUX
long acomp 2 ADJ
and cc 2 CCONJ
she nsubj 9 PRON
is aux 9 AUX
n't neg 9 PART
being aux 9 AUX
dressed conj 2 VERB
in prep 9 ADP
a det 12 DET
pair pobj 10 NOUN
of prep 12 ADP
jeans pobj 13 NOUN
"""
RELATIVE = """
A det 1 DET
man ROOT 1 NOUN
without prep 1 ADP
a det 4 DET
bag pobj 2 NOUN
who nsubj 7 PRON
is aux 7 AUX
looking relcl 1 VERB
down prt 7 ADP
at prep 7 ADP
his poss 11 PRON
phone pobj 9 NOUN
and cc 7 CCONJ
walking conj 7 VERB
"""
SENTENCES = {"red and white": RED_AND_WHITE, "standing": STANDING, "hair": HAIR, "relative": RELATIVE}


@dataclass
class Word:
    """What `graph_of` reads of a token of spaCy's."""

    text: str
    i: int
    idx: int
    dep_: str
    pos_: str
    head: "Word"


def rows(table: str) -> list[tuple[str, str, int, str]]:
    split = [line.split() for line in table.strip().splitlines()]
    return [(word, label, int(head), part) for word, label, head, part in split]


def graph(table: str) -> SceneGraph:
    """The graph of a table, with one space before each word but the first and "n't"."""
    words: list[Word] = []
    text = ""
    for number, (word, label, _, part) in enumerate(rows(table)):
        text += " " if number and word != "n't" else ""
        words.append(Word(word, number, len(text), label, part, head=None))  # type: ignore[arg-type]  # set below
        text += word
    for token, (_, _, head, _) in zip(words, rows(table), strict=True):
        token.head = words[head]
    return graph_of(text, words)
