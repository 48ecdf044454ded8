"""What the model is asked. The version is a hash of the words, so that no change of them can go unnoticed.

Seed 002, section 3.3 asks for race among the traits of identity. Descry does not: it offers no protected attribute.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

SYSTEM = (
    "You describe single pedestrians in surveillance pictures for a data set. You never guess who somebody is. "
    "You write plain English and answer with one JSON object and nothing else."
)
QUESTION = (
    "Describe the person in the picture in two texts, without referring to the background.\n"
    '"identity": what stays the same when the person changes clothes: sex, age group, build, hair, face, and how the '
    "person stands or walks. Name no clothing, shoes, glasses, hats, bags or other belongings. Do not mention race, "
    "religion or health.\n"
    '"clothing": the upper garment, the lower garment, shoes, accessories and belongings, with colours, patterns and '
    "materials. If the upper or the lower garment cannot be seen, say that it is not visible. "
    "Say nothing of the person.\n"
    "Each text has between 8 and 130 words, in full sentences, without line breaks and without the characters < and >. "
    "Say only what can be seen.\n"
    'Answer: {"identity": "...", "clothing": "..."}'
)
AGAIN = "Your answer cannot be used: {reason}. Answer again, with both fields, in the same JSON form."
STYLED = (
    "Write as the author of these examples does: same order, length, tone and kind of words. Take over nothing of what "
    "they say.\n{examples}"
)
PROMPT_VERSION = hashlib.sha256("\0".join((SYSTEM, QUESTION, AGAIN, STYLED)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Style:
    """A manner of writing. The name ends in a hash of the prompt, so that other clusters have other names."""

    name: str
    prompt: str


PLAIN = Style("plain", "")


def styled(number: int, exemplars: tuple[str, ...]) -> Style:
    """The style that these captions show."""
    prompt = STYLED.format(examples="\n".join(f"- {text}" for text in exemplars))
    return Style(f"style-{number}-{hashlib.sha256(prompt.encode()).hexdigest()[:8]}", prompt)


def first_messages(style: Style, picture: str) -> list[dict[str, Any]]:
    """The conversation that asks for both texts.

    Args:
        picture: as a data URL.
    """
    words = f"{QUESTION}\n\n{style.prompt}" if style.prompt else QUESTION
    content = [{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": picture}}]
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]


def ask_again(messages: list[dict[str, Any]], answer: str, reason: str) -> list[dict[str, Any]]:
    """The first conversation with the rejected answer and why; only the last one, so that requests do not grow."""
    said = {"role": "assistant", "content": answer or "(nothing)"}
    return [*messages[:2], said, {"role": "user", "content": AGAIN.format(reason=reason)}]
