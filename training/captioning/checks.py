"""What an answer must be before training may read it: syntax after HAM's `caption.py`, coverage after seed 002, 3.3."""

import re

from training.captioning import lexicon

FEWEST_WORDS, MOST_WORDS = 8, 130
_FORBIDDEN = {"<": "the character '<'", ">": "the character '>'", "\n": "a line break", "\r": "a line break"}
_ENGLISH = lexicon.words(
    "a an the and or of with in on is are was has have he she they his her their wearing wears who to it at this that "
    "no not but from for person man woman visible"
)
_LEAST_ENGLISH = 0.12
_UNSEEN = (
    r"(?:not (?:clearly |fully |really )?(?:visible|seen|shown|in view|in frame|in the (?:picture|image|frame))|"
    r"cannot be (?:seen|made out|determined)|can't be (?:seen|made out)|can not be seen|isn't visible|aren't visible|"
    r"out of (?:view|frame|sight|the picture)|hidden|obscured|occluded|cropped|cut off|invisible|unseen|covered up)"
)
_REGIONS = {
    "upper": r"(?:upper (?:body|half|garment|clothing|clothes|part)|torso|chest|top half|top|shirt)",
    "lower": r"(?:lower (?:body|half|garment|clothing|clothes|part)|legs?|trousers|pants|bottoms?|waist down)",
}
_REFUSAL = re.compile(
    r"\b(?:i(?: a|['\u2019])m sorry|i cannot|i can['\u2019]t|i am unable|i'm unable|i won't|"
    r"unable to (?:help|assist|identify)|as an ai|cannot assist|can't assist|against (?:my|the) (?:policy|guidelines))",
    re.IGNORECASE,
)
_GROUPS = {
    "sex or age": lexicon.PEOPLE | lexicon.MEN | lexicon.WOMEN | lexicon.AGE,
    "build": lexicon.BUILD,
    "hair": lexicon.HAIR,
    "face": lexicon.FACE,
    "gait": lexicon.GAIT,
}


def is_refusal(text: str) -> bool:
    """Whether the model says that it will not answer."""
    return bool(_REFUSAL.search(text))


def why_not_identity(text: str) -> str | None:
    """Why a text is no description of the person alone; None if it is one."""
    if reason := why_not_syntax(text):
        return reason
    if named := lexicon.garments_in(text):
        return f"names clothing or belongings ({', '.join(named[:4])}), and must speak of the person alone"
    words = set(lexicon.words_of(text))
    said = [name for name, group in _GROUPS.items() if words & group]
    if "sex or age" not in said:
        return "says neither sex nor age, not even 'a person'"
    if len(said) < 2:
        return "says nothing of build, hair, face or gait"
    return None


def why_not_clothing(text: str) -> str | None:
    """Why a text is no description of the clothes; None if it is one."""
    if reason := why_not_syntax(text):
        return reason
    words = set(lexicon.words_of(text))
    missing = [
        part
        for part, names in (("upper", lexicon.UPPER), ("lower", lexicon.LOWER))
        if not words & (names | lexicon.WHOLE) and not _said_unseen(text, part)
    ]
    if missing:
        return f"names no {' and no '.join(missing)} garment, and does not say that it is not visible"
    return None


def why_not_syntax(text: str) -> str | None:
    """Why a text is no usable sentence or two of English; None if it is."""
    for character, name in _FORBIDDEN.items():
        if character in text:
            return f"contains {name}"
    words = lexicon.WORD.findall(text.lower())
    letters = [character for character in text if character.isalpha()]
    if letters and sum(character.isascii() for character in letters) < 0.9 * len(letters):
        return "is not in English"
    if len(words) < FEWEST_WORDS:
        return f"has {len(words)} words; at least {FEWEST_WORDS} are wanted"
    if len(words) > MOST_WORDS:
        return f"has {len(words)} words; at most {MOST_WORDS} are wanted"
    if sum(word in _ENGLISH for word in words) < _LEAST_ENGLISH * len(words):
        return "is not in English, or not in sentences"
    return None


def _said_unseen(text: str, part: str) -> bool:
    """Whether one clause speaks of the part of the body and says that it cannot be seen."""
    return any(
        re.search(rf"\b{_REGIONS[part]}\b", clause) and re.search(_UNSEEN, clause)
        for clause in re.split(r"[.;]", text.lower())
    )
