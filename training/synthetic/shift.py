"""Another site: what a model that was trained on the usual synthetic people has not met.

Cameras with a strong cast, low contrast, blur and coarse compression; descriptions by people who call colours and
garments otherwise. The bodies are drawn as always.
"""

import re
from dataclasses import replace

from training.synthetic.scene import Camera

WORDS: dict[str, str] = {
    "black": "ebony",
    "white": "chalk",
    "grey": "slate",
    "gray": "slate",
    "navy": "indigo",
    "blue": "cobalt",
    "red": "ruby",
    "maroon": "oxblood",
    "pink": "fuchsia",
    "orange": "tangerine",
    "yellow": "amber",
    "green": "jade",
    "purple": "mauve",
    "brown": "umber",
    "beige": "ecru",
    "jacket": "blouson",
    "coat": "greatcoat",
    "shirt": "tunic",
    "sweater": "guernsey",
    "hoodie": "cowl",
    "pants": "breeches",
    "trousers": "breeches",
    "jeans": "dungarees",
    "skirt": "kilt",
    "shorts": "bermudas",
    "shoes": "brogues",
    "sneakers": "plimsolls",
    "boots": "wellingtons",
    "backpack": "haversack",
    "handbag": "reticule",
}
"""A word of the generator -> what it is called here. No word on the right is known to a model trained on the left."""
_KNOWN = re.compile(rf"\b({'|'.join(WORDS)})\b")
_GAINS = (0.62, 0.9, 1.3)


def other_camera(camera: Camera) -> Camera:
    """The same place through cheap optics under cold light."""
    red, green, blue = camera.gains
    return replace(
        camera,
        gains=(red * _GAINS[0], green * _GAINS[1], blue * _GAINS[2]),
        gamma=camera.gamma * 1.35,
        ambient=camera.ambient * 0.85,
        blur=camera.blur * 1.8,
        noise=camera.noise * 2.0,
        quality=50,
    )


def other_words(text: str) -> str:
    """The same description in the words of the other site."""
    told = _KNOWN.sub(lambda match: WORDS[match[0]], text)
    return re.sub(r"\b(an?) (\w)", lambda match: f"{'an' if match[2].lower() in 'aeiou' else 'a'} {match[2]}", told)
