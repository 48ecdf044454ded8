"""Which words speak of clothes and which of the person, for splitting descriptions and for checking answers."""

import re

from models.descriptions import lexicon as grammar


def words(text: str) -> frozenset[str]:
    """The words of a list that is written as a text."""
    return frozenset(text.split())


UPPER = words(
    "jacket coat shirt t-shirt tshirt tee top sweater jumper pullover hoodie sweatshirt blouse vest gilet "
    "cardigan blazer parka anorak windbreaker overcoat waistcoat tunic polo kimono poncho hoody fleece singlet "
    "tank-top raincoat turtleneck crop-top undershirt"
)
LOWER = words(
    "pants trousers jeans denims slacks chinos leggings tights joggers sweatpants bottoms shorts skirt miniskirt "
    "breeches capris culottes jeggings khakis"
)
WHOLE = words(
    "dress frock gown suit uniform robe jumpsuit overalls dungarees romper tracksuit sari hanbok abaya cheongsam"
)
"""What covers upper and lower body at once."""
FOOTWEAR = words(
    "shoes shoe footwear sneakers sneaker trainers boots boot sandals sandal heels pumps loafers flip-flops "
    "slippers socks stockings crocs"
)
ACCESSORIES = words(
    "hat cap beanie glasses eyeglasses spectacles sunglasses shades scarf gloves belt tie necktie necklace watch "
    "bracelet earrings earring mask hood helmet headphones earphones jewelry jewellery ring headscarf hijab shawl "
    "apron lanyard badge headband hairband visor bandana"
)
GARMENTS = UPPER | LOWER | WHOLE | FOOTWEAR | ACCESSORIES
GARMENT_PARTS = words(
    "collar collars sleeve sleeves zipper zip button buttons pocket pockets strap straps logo print lapel hem "
    "cuff cuffs"
)
CARRIED = words(
    "bag bags backpack backpacks rucksack knapsack handbag purse satchel suitcase luggage case tote phone "
    "cellphone smartphone cup coffee bottle water book books folder notebook umbrella drink laptop paper papers "
    "newspaper wallet stroller trolley cart briefcase basket box package parcel tray cigarette keys tablet"
)
DRESSING = words(
    "wear wears wearing wore worn dressed clad outfit clothes clothing garment garments attire barefoot shirtless"
)
"""Words about being dressed that name no garment."""
FEATURES = words(
    "hair ponytail ponytails bun braid braids beard moustache mustache goatee stubble fringe bangs face skin "
    "build body figure stature height frame physique complexion eyes eyebrows nose jaw forehead chin cheeks "
    "sideburns gait stride posture haircut hairstyle curls dreadlocks afro hairline wrinkles"
)
PLACES = words(
    "head neck shoulder shoulders arm arms hand hands wrist wrists leg legs knee knees foot feet waist chest back "
    "front side ear ears hip hips elbow elbows ankle ankles"
)
PEOPLE = grammar.PEOPLE | words("men women ladies guys boys girls males females adults students pedestrians")
MEN = words("man men gentleman gentlemen guy guys fellow boy boys male males schoolboy he him his")
WOMEN = words("woman women lady ladies girl girls female females schoolgirl she her hers")
COLOURS = grammar.HUES | grammar.SHADES

AGE = words(
    "young younger old older elderly senior middle-aged middle adult adults child children kid teenage teenager "
    "teen youth twenties thirties forties fifties sixties seventies aged boy girl years"
)
BUILD = words(
    "build built slim slender thin skinny lean heavy heavyset stocky chubby overweight tall short height broad "
    "broad-shouldered petite muscular athletic average medium-build body figure stature frame physique plump "
    "sturdy large"
)
HAIR = words("hair haired ponytail bun braid braids bald balding fringe bangs haircut hairstyle hairline curls shaved")
FACE = words(
    "face facial beard bearded moustache mustache goatee stubble skin complexion eyes eyebrows nose jaw cheeks "
    "clean-shaven forehead chin round-faced oval"
)
GAIT = words("gait walk walks walking stride strides striding posture upright stands standing stooped leaning steps")

WORD = re.compile(r"[a-z0-9]+(?:[-'\u2019][a-z0-9]+)*")
# A word that is a garment alone is none in these: "the top of her head", "hair tied back".
_NO_GARMENT = re.compile(
    r"\b(?:(?:on|at|the|from) (?:the )?top of|on top\b|(?:pulled|tied|piled|up) on top|top[- ]?knot|heavy tread|"
    r"from top to|top to (?:toe|bottom)|ring(?:s)? under|on (?:his|her|their) heels)"
)


def words_of(text: str) -> list[str]:
    """The words in lower case; "long-haired" also gives its parts, which are words of their own to the lexicon."""
    found: list[str] = []
    for word in WORD.findall(text.lower().replace("\u2019", "'")):
        found.append(word)
        if "-" in word:
            found.extend(word.split("-"))
    return found


def garments_in(text: str) -> tuple[str, ...]:
    """The words of the text that name garments, accessories or things carried, or speak of being dressed, each once."""
    plain = _NO_GARMENT.sub(" ", text.lower())
    known = (GARMENTS | GARMENT_PARTS | DRESSING | CARRIED) - {"water", "paper", "case", "frame", "body"}
    return tuple(dict.fromkeys(word for word in words_of(plain) if word in known))
