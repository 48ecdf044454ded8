"""The words: for every attribute value, how people say it; and which values each word fits.

A mention is (attribute, meaning). A meaning is a value ("navy") or a coarser word ("dark"), which fits several
values: `COARSE` lists those, and `fits` decides. The oracle knows exactly as much as the caption said.
"""

COLOURS: dict[str, tuple[str, ...]] = {
    "black": ("black", "black", "black", "black", "jet black", "pitch black"),
    "white": ("white", "white", "white", "off-white", "ivory"),
    "grey": ("grey", "gray", "gray", "gray", "greyish"),
    "navy": ("navy", "navy blue", "dark blue", "dark blue", "deep blue"),
    "blue": ("blue", "blue", "bright blue", "royal blue"),
    "light blue": ("light blue", "light blue", "pale blue", "sky blue", "baby blue", "powder blue"),
    "red": ("red", "red", "bright red", "scarlet", "crimson"),
    "maroon": ("maroon", "dark red", "burgundy", "wine red"),
    "pink": ("pink", "pink", "light pink", "rose", "bright pink"),
    "orange": ("orange", "orange", "bright orange"),
    "yellow": ("yellow", "yellow", "bright yellow", "mustard", "golden yellow"),
    "green": ("green", "green", "bright green", "emerald green", "grass green"),
    "dark green": ("dark green", "dark green", "forest green", "bottle green", "deep green"),
    "purple": ("purple", "purple", "violet", "plum"),
    "brown": ("brown", "brown", "dark brown", "chocolate brown"),
    "beige": ("beige", "beige", "tan", "cream", "khaki", "sand", "light brown"),
}

HAIR_COLOURS: dict[str, tuple[str, ...]] = {
    "black": ("black", "black", "jet black"),
    "brown": ("brown", "brown", "brunette", "chestnut"),
    "blonde": ("blonde", "blonde", "blond", "fair", "golden"),
    "red": ("red", "ginger", "auburn", "reddish"),
    "grey": ("grey", "gray", "white", "silver"),
}

# attribute -> meaning -> the words for it. A meaning that is no value of the attribute is explained in COARSE.
NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "upper": {
        "t-shirt": ("t-shirt", "t-shirt", "tshirt", "tee", "tee shirt", "short-sleeved t-shirt", "short sleeve shirt"),
        "long-sleeved top": ("long-sleeved top", "long sleeve top", "long-sleeved t-shirt", "long sleeve tee"),
        "shirt": ("button-up shirt", "dress shirt", "button-down shirt", "long-sleeved shirt", "long sleeve shirt"),
        "polo shirt": ("polo shirt", "polo shirt", "polo"),
        "tank top": ("tank top", "tank top", "sleeveless top", "sleeveless shirt", "vest top"),
        "sweater": ("sweater", "sweater", "jumper", "pullover", "knitted sweater"),
        "hoodie": ("hoodie", "hoodie", "hooded sweatshirt", "hooded top", "hooded sweater"),
        "blouse": ("blouse", "blouse", "loose blouse"),
        "dress": ("dress", "dress", "dress", "frock"),
        "any shirt": ("shirt",),
        "any collar": ("collared shirt", "shirt with a collar"),
        "any warm top": ("sweatshirt", "warm top", "sweat shirt"),
        "any top": ("top",),
    },
    "outer": {
        "jacket": ("zip-up jacket", "windbreaker", "zipped jacket", "zipper jacket"),
        "puffer jacket": (
            "puffer jacket",
            "down jacket",
            "padded jacket",
            "quilted jacket",
            "puffy jacket",
            "winter jacket",
            "anorak",
        ),
        "blazer": ("blazer", "blazer", "suit jacket", "sport coat"),
        "cardigan": ("cardigan", "cardigan", "knitted cardigan"),
        "vest": ("padded vest", "sleeveless jacket", "gilet", "body warmer", "puffer vest", "waistcoat"),
        "coat": ("long coat", "overcoat", "trench coat", "long coat", "parka"),
        "any jacket": ("jacket",),
        "any coat": ("coat",),
    },
    "lower": {
        "jeans": ("jeans", "jeans", "jeans", "denim jeans", "denim pants", "denims"),
        "trousers": ("dress pants", "slacks", "suit trousers", "chinos", "straight trousers"),
        "leggings": ("leggings", "leggings", "tights", "tight pants", "yoga pants", "skinny pants"),
        "joggers": ("joggers", "sweatpants", "track pants", "sweat pants", "jogging bottoms", "tracksuit bottoms"),
        "shorts": ("shorts", "shorts", "short pants", "short trousers"),
        "short skirt": ("short skirt", "mini skirt", "miniskirt"),
        "long skirt": ("long skirt", "maxi skirt", "ankle-length skirt"),
        "any skirt": ("skirt",),
        "any trousers": ("pants", "trousers", "long pants", "bottoms"),
    },
    "shoes": {
        "sneakers": ("sneakers", "sneakers", "trainers", "tennis shoes", "running shoes", "sports shoes"),
        "boots": ("boots", "boots", "leather boots", "high boots"),
        "dress shoes": ("dress shoes", "leather shoes", "loafers", "formal shoes"),
        "sandals": ("sandals", "sandals", "open shoes", "flip-flops"),
        "high heels": ("high heels", "heels", "high-heeled shoes", "pumps"),
        "any shoes": ("shoes", "shoes", "shoes", "footwear"),
    },
    "bag": {
        "backpack": ("backpack", "backpack", "backpack", "rucksack", "knapsack", "book bag", "school bag"),
        "handbag": ("handbag", "handbag", "hand bag", "tote bag"),
        "shoulder bag": ("shoulder bag", "shoulder bag", "messenger bag", "crossbody bag", "satchel", "sling bag"),
        "suitcase": (
            "suitcase",
            "suitcase",
            "rolling suitcase",
            "piece of luggage",
            "trolley case",
            "travel bag",
            "wheeled case",
        ),
        "any purse": ("purse",),
        "any bag": ("bag",),
    },
    "carried": {
        "phone": ("phone", "cell phone", "mobile phone", "smartphone", "cellphone"),
        "cup": ("cup", "coffee cup", "cup of coffee", "paper cup"),
        "bottle": ("bottle", "water bottle", "bottle of water"),
        "book": ("book", "folder", "notebook"),
        "umbrella": ("umbrella", "folded umbrella", "closed umbrella"),
        "shopping bag": ("shopping bag", "plastic bag", "carrier bag", "paper bag"),
        "any drink": ("drink",),
    },
    "hat": {
        "cap": ("cap", "cap", "baseball cap", "peaked cap"),
        "beanie": ("beanie", "beanie", "knit cap", "woolly hat"),
        "sun hat": ("sun hat", "wide-brimmed hat", "brimmed hat"),
        "any hat": ("hat",),
    },
    "glasses": {
        "glasses": ("glasses", "eyeglasses", "spectacles"),
        "sunglasses": ("sunglasses", "dark glasses", "shades"),
    },
    "hair_length": {
        "short": ("short", "short", "short", "cropped"),
        "medium": ("shoulder-length", "medium-length", "chin-length"),
        "long": ("long", "long", "long", "very long"),
    },
    "hair_style": {
        "ponytail": ("ponytail", "ponytail", "pony tail"),
        "bun": ("bun", "hair bun", "knot"),
    },
    "build": {
        "slim": ("slim", "thin", "slender", "skinny", "slightly built"),
        "heavy": ("heavyset", "stocky", "large", "heavy", "overweight", "broad", "chubby", "big"),
    },
}

PEOPLE: dict[tuple[str, str], tuple[str, ...]] = {
    ("man", "adult"): ("man", "man", "man", "man", "guy", "male", "gentleman", "fellow"),
    ("woman", "adult"): ("woman", "woman", "woman", "woman", "lady", "female"),
    ("man", "child"): ("boy", "boy", "little boy", "young boy", "schoolboy", "male child"),
    ("woman", "child"): ("girl", "girl", "little girl", "young girl", "schoolgirl", "female child"),
    ("man", "elderly"): ("older man", "elderly man", "old man", "elderly gentleman", "senior man"),
    ("woman", "elderly"): ("older woman", "elderly woman", "old woman", "elderly lady", "senior woman"),
}
UNSEXED: dict[str, tuple[str, ...]] = {
    "adult": ("person", "person", "pedestrian", "individual", "adult"),
    "child": ("child", "kid", "young child", "youngster"),
    "elderly": ("older person", "elderly person"),
}

COARSE: dict[str, dict[str, frozenset[str]]] = {
    "colour": {
        "dark": frozenset({"black", "navy", "maroon", "dark green", "brown", "grey"}),
        "light": frozenset({"white", "beige", "light blue", "pink", "yellow", "grey"}),
        "any blue": frozenset({"blue", "navy", "light blue"}),
        "any green": frozenset({"green", "dark green"}),
        "any red": frozenset({"red", "maroon"}),
    },
    "hair_colour": {
        "dark": frozenset({"black", "brown"}),
        "light": frozenset({"blonde", "grey"}),
    },
    "upper": {
        "any shirt": frozenset({"t-shirt", "shirt", "polo shirt", "long-sleeved top", "blouse"}),
        "any collar": frozenset({"shirt", "polo shirt", "blouse"}),
        "any warm top": frozenset({"sweater", "hoodie"}),
        "any top": frozenset(
            {"t-shirt", "shirt", "polo shirt", "long-sleeved top", "blouse", "tank top", "sweater", "hoodie"}
        ),
    },
    "outer": {
        "any jacket": frozenset({"jacket", "puffer jacket", "blazer"}),
        "any coat": frozenset({"coat", "puffer jacket"}),
    },
    "lower": {
        "any skirt": frozenset({"short skirt", "long skirt"}),
        "any trousers": frozenset({"jeans", "trousers", "leggings", "joggers"}),
    },
    "shoes": {"any shoes": frozenset({"sneakers", "boots", "dress shoes", "high heels"})},
    "bag": {
        "any purse": frozenset({"handbag", "shoulder bag"}),
        "any bag": frozenset({"backpack", "handbag", "shoulder bag", "suitcase"}),
    },
    "carried": {"any drink": frozenset({"cup", "bottle"})},
    "hat": {"any hat": frozenset({"cap", "beanie", "sun hat"})},
}
COARSE_COLOURS: dict[str, tuple[str, ...]] = {
    "dark": ("dark", "dark-coloured"),
    "light": ("light", "light-coloured", "pale"),
    "any blue": ("blue",),
    "any green": ("green",),
    "any red": ("red",),
}


def fits(attribute: str, meaning: str, value: str) -> bool:
    """Whether a person whose `attribute` is `value` may be described by a word of this meaning."""
    table = COARSE.get(attribute) or (COARSE["colour"] if attribute.endswith(("_colour", "_accent")) else {})
    wider = table.get(meaning)
    return value == meaning if wider is None else value in wider


def coarser(attribute: str, value: str) -> list[str]:
    """The coarser meanings that fit this value."""
    table = COARSE.get(attribute) or (COARSE["colour"] if attribute.endswith(("_colour", "_accent")) else {})
    return [meaning for meaning, values in table.items() if value in values]
