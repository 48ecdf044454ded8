"""Clothes: primitives over the body, a little wider than it, by garment type."""

from training.synthetic.attributes import Identity
from training.synthetic.body import SIDES, Figure, between, beyond
from training.synthetic.palette import Rgb
from training.synthetic.parts import Material, Part
from training.synthetic.raster import FLAT, Primitive, Vector

_UP: Vector = (0.0, 1.0, 0.0)
_LIGHT_SOLE: Rgb = (222.0, 222.0, 218.0)
_DARK_SOLE: Rgb = (34.0, 32.0, 32.0)
# How far a garment stands off the body, metres.
_SLACK = {
    "t-shirt": 0.014,
    "long-sleeved top": 0.008,
    "shirt": 0.015,
    "polo shirt": 0.012,
    "tank top": 0.004,
    "sweater": 0.024,
    "hoodie": 0.034,
    "blouse": 0.014,
    "dress": 0.008,
    "jacket": 0.034,
    "puffer jacket": 0.058,
    "blazer": 0.026,
    "cardigan": 0.024,
    "vest": 0.046,
    "coat": 0.040,
}
_SHORT_SLEEVES = frozenset({"t-shirt", "polo shirt"})
LONG_SLEEVES = frozenset({"long-sleeved top", "shirt", "sweater", "hoodie", "blouse"})
_LEG_SLACK = {"jeans": 0.012, "trousers": 0.018, "leggings": 0.001, "joggers": 0.026, "shorts": 0.028}


def clothes(identity: Identity, body: Figure) -> list[Primitive]:
    """Everything worn on trunk, arms, legs and feet."""
    shapes = _lower(identity, body) + _shoes(identity, body)
    if identity["outer"] == "none":
        return shapes + _upper(identity, body, visible_trunk=True)
    return shapes + _upper(identity, body, visible_trunk=False) + _outer(identity, body)


def has_long_sleeves(identity: Identity) -> bool:
    """Whether the upper garment covers the forearms."""
    return identity["upper"] in LONG_SLEEVES or (identity["upper"] == "dress" and identity.traits["width"] > 0.6)


def coat_hem(identity: Identity) -> float:
    """Height of a coat's hem above the floor, metres."""
    return 0.40 + 0.22 * identity.traits["length"]


def skirt_hem(identity: Identity) -> float:
    """Height of the hem of a skirt or dress, metres."""
    if identity["lower"] == "long skirt":
        return 0.14 + 0.12 * identity.traits["length"]
    if identity["lower"] == "short skirt":
        return 0.52 + 0.08 * identity.traits["length"]
    return 0.28 + 0.28 * identity.traits["length"]


def _trunk(
    body: Figure, slack: float, hem: float, part: int, colour: Rgb, material: int, fold: float
) -> list[Primitive]:
    def wide(size: tuple[float, float], more: float = 0.0) -> tuple[float, float]:
        return (size[0] + slack + more, size[1] + slack + more)

    shoulder = abs(body.joints["left shoulder"][0])
    r = 0.050 + slack * 0.55
    shapes = [
        Primitive(
            body.trunk(0, 1.345, -0.005), body.trunk(0, 1.12), wide(body.chest), wide(body.waist), part, colour, 2.0,
            fold=fold, material=material,
        ),
        Primitive(
            body.trunk(0, 1.14), body.trunk(0, hem + 0.01), wide(body.waist), wide(body.hips, 0.004), part, colour, 5,
            fold=fold, material=material,
        ),
    ]  # fmt: skip
    for sign in (1.0, -1.0):  # the slope from the neck to the shoulder
        inner, outer = body.trunk(sign * 0.035, 1.425, -0.012), body.trunk(sign * (shoulder - 0.012), 1.372)
        shapes.append(
            Primitive(inner, outer, (r + 0.004, r + 0.004), (r, r), part, colour, fold=fold * 0.5, material=material)
        )
    return shapes


def _sleeves(
    body: Figure, slack: float, reach: float, part: int, colour: Rgb, material: int, fold: float
) -> list[Primitive]:
    """Sleeves that cover `reach` of the arm: up to 1 the upper arm, up to 2 the forearm."""
    shapes, limb = [], body.limb
    for name, _ in SIDES:
        shoulder, elbow, hand = (
            body.joints[f"{name} shoulder"],
            body.joints[f"{name} elbow"],
            body.joints[f"{name} hand"],
        )
        end = between(shoulder, elbow, min(1.0, reach))
        flare = 0.008 if reach < 1 else 0.0
        r0, r1 = 0.052 * limb + slack, 0.041 * limb + slack + flare
        shapes.append(
            Primitive(
                shoulder, end, (r0, r0), (r1, r1), part, colour, 1.0 if reach > 1 else 2.5, fold=fold, material=material
            )
        )
        if reach > 1:
            r2 = 0.032 * limb + slack * 0.75
            shapes.append(
                Primitive(
                    elbow,
                    between(elbow, hand, reach - 1),
                    (r1, r1),
                    (r2, r2),
                    part,
                    colour,
                    1.5,
                    fold=fold,
                    material=material,
                )
            )
    return shapes


def _upper(identity: Identity, body: Figure, *, visible_trunk: bool) -> list[Primitive]:
    kind, colour = identity["upper"], identity.colours["upper"]
    slack, part = _SLACK[kind], int(Part.UPPER)
    fold = 0.25 if kind in ("tank top", "long-sleeved top") else 0.6
    shapes: list[Primitive] = []
    if visible_trunk:
        tucked = kind in ("shirt", "blouse") and identity.traits["open"] < 0.6
        hem = (
            0.99
            if tucked or identity["lower"] in ("short skirt", "long skirt")
            else 0.88 + 0.05 * identity.traits["length"]
        )
        shapes += _trunk(body, slack, hem, part, colour, Material.UPPER_TORSO, fold)
        shapes += _collar(identity, body)
        if kind == "dress":
            shapes += _skirt(identity, body, part, colour, Material.UPPER_TORSO, top=1.0)
    if identity["outer"] in ("none", "vest"):
        reach = 0.62 if kind in _SHORT_SLEEVES else 0.98 + 0.99 * has_long_sleeves(identity)
        if kind == "dress" and not has_long_sleeves(identity):
            reach = 0.4
        if kind == "blouse":
            reach, slack = 1.35, slack + 0.016  # wide sleeves to the middle of the forearm
        if kind != "tank top":
            shapes += _sleeves(body, slack * 0.8, reach, part, colour, Material.UPPER_SLEEVE, fold)
    return shapes


def _collar(identity: Identity, body: Figure) -> list[Primitive]:
    kind, colour = identity["upper"], identity.colours["upper"]
    if kind == "hoodie":
        hood = tuple(value * 0.9 for value in colour)
        return [
            Primitive(
                body.trunk(-0.05, 1.45, -0.075),
                body.trunk(0.05, 1.45, -0.075),
                (0.062, 0.05),
                (0.062, 0.05),
                Part.UPPER,
                (hood[0], hood[1], hood[2]),
                side=(0, 1, 0),
                fold=0.5,
            ),
            Primitive(
                body.trunk(0, 1.43), body.trunk(0, 1.49, -0.01), (0.095, 0.085), (0.07, 0.07), Part.UPPER, colour, 3
            ),
        ]
    if kind in ("shirt", "polo shirt", "blouse"):
        # The collar's own tone is what tells a shirt from a t-shirt in a small picture.
        trim = 0.6 if sum(colour) > 330 else 1.7
        collar = (min(248.0, colour[0] * trim), min(248.0, colour[1] * trim), min(248.0, colour[2] * trim))
        tone = collar if kind == "polo shirt" else colour
        ends = (0.070, 0.068), (0.058, 0.058)
        return [Primitive(body.trunk(0, 1.43), body.trunk(0, 1.49, -0.008), *ends, Part.UPPER, tone, FLAT)]
    return []


def _outer(identity: Identity, body: Figure) -> list[Primitive]:
    kind, colour = identity["outer"], identity.colours["outer"]
    slack, part = _SLACK[kind], int(Part.OUTER)
    fold = 0.35 if kind in ("puffer jacket", "vest") else 0.6
    hem = {"jacket": 0.90, "puffer jacket": 0.88, "blazer": 0.83, "cardigan": 0.80, "vest": 0.90, "coat": 0.95}[kind]
    shapes = _trunk(body, slack, hem, part, colour, Material.OUTER_TORSO, fold)
    if kind != "vest":
        shapes += _sleeves(body, slack * 0.8, 1.98, part, colour, Material.OUTER_SLEEVE, fold)
    if kind == "coat":
        shapes += _skirt(
            identity, body, part, colour, Material.OUTER_SKIRT, top=1.02, hem=coat_hem(identity), slack=slack + 0.012
        )
    high = 0.03 if kind in ("jacket", "puffer jacket", "coat") else 0.0
    shapes.append(
        Primitive(
            body.trunk(0, 1.43),
            body.trunk(0, 1.465 + high, -0.014),
            (0.082, 0.075),
            (0.066, 0.064),
            part,
            colour,
            FLAT,
            material=Material.OUTER_TORSO,
        )
    )
    return shapes


def _skirt(
    identity: Identity,
    body: Figure,
    part: int,
    colour: Rgb,
    material: int,
    top: float,
    hem: float | None = None,
    slack: float = 0.008,
) -> list[Primitive]:
    """A cone from the hips to the hem that hides the thighs; it follows the stride a little and flares by the
    person's trait."""
    low = skirt_hem(identity) if hem is None else hem
    knees = [body.joints[f"{name} knee"] for name, _ in SIDES]
    stride = abs(knees[0][2] - knees[1][2])
    middle = (knees[0][2] + knees[1][2]) / 2
    flare = (0.02 + 0.16 * identity.traits["flare"]) * (1.0 - low) if hem is None else 0.035
    if identity["lower"] == "long skirt":
        flare *= 0.7
    wide = (body.hips[0] + slack + flare, body.hips[1] + slack + flare * 0.8 + stride * 0.36)
    hips = (body.hips[0] + slack + 0.008, body.hips[1] + slack + 0.010 + stride * 0.06)
    upper = (body.waist[0] + slack + 0.01, body.waist[1] + slack + 0.01)
    return [
        Primitive(body.trunk(0, top + 0.04), (0, 0.9, 0), upper, hips, part, colour, 3, fold=0.5, material=material),
        Primitive((0, 0.91, 0), (0, low, middle * 0.7), hips, wide, part, colour, 5, fold=0.9, material=material),
    ]


def _lower(identity: Identity, body: Figure) -> list[Primitive]:
    kind = identity["lower"]
    if kind == "none":
        return []
    colour, part = identity.colours["lower"], int(Part.LOWER)
    if "skirt" in kind:
        return _skirt(identity, body, part, colour, Material.SKIRT, top=1.0)
    slack, limb = _LEG_SLACK[kind], body.limb
    hips = (body.hips[0] + slack * 0.35, body.hips[1] + slack * 0.35)
    shapes = [
        Primitive(
            body.trunk(0, 1.01),
            (0, 0.90, 0),
            (body.waist[0] + 0.008, body.waist[1] + 0.006),
            hips,
            part,
            colour,
            3,
            fold=0.4,
            material=Material.LEG,
        )
    ]
    for name, _ in SIDES:
        hip, knee, ankle = body.joints[f"{name} hip"], body.joints[f"{name} knee"], body.joints[f"{name} ankle"]
        r0, r1 = 0.082 * limb + slack * 0.6, 0.054 * limb + slack
        if kind == "shorts":
            end = between(hip, knee, 0.72 + 0.3 * identity.traits["length"])
            shapes.append(
                Primitive(
                    hip, end, (r0, r0), (r1 + 0.018, r1 + 0.018), part, colour, 2.5, fold=0.45, material=Material.LEG
                )
            )
            continue
        shapes.append(Primitive(hip, knee, (r0, r0), (r1, r1), part, colour, fold=0.45, material=Material.LEG))
        r2 = {"jeans": 0.046, "trousers": 0.058, "leggings": 0.036, "joggers": 0.040}[kind] * (0.5 + 0.5 * limb)
        end = between(knee, ankle, 0.93 if kind != "trousers" else 1.0)
        bulge = {"joggers": 0.02, "leggings": 0.010}.get(kind, 0.004)
        shapes.append(
            Primitive(knee, end, (r1, r1), (r2, r2), part, colour, 1.6, bulge=bulge, fold=0.5, material=Material.LEG)
        )
    return shapes


def _shoes(identity: Identity, body: Figure) -> list[Primitive]:
    kind, colour = identity["shoes"], identity.colours["shoes"]
    light = kind == "sneakers" and identity.traits["shine"] < 0.75
    under = colour if kind in ("sandals", "high heels") else _LIGHT_SOLE if light else _DARK_SOLE
    foot = (Part.SKIN, identity.colours["skin"]) if kind == "sandals" else (Part.SHOES, colour)
    shapes = []
    for name, sign in SIDES:
        knee, ankle = body.joints[f"{name} knee"], body.joints[f"{name} ankle"]
        pitch = max(-0.06, min(0.05, (ankle[2] - knee[2]) * 0.6))
        toe = (ankle[0] + sign * 0.025, ankle[1] - 0.042 + pitch, ankle[2] + 0.145)
        heel = (ankle[0], ankle[1] - 0.035, ankle[2] - 0.035)
        low = (heel[0], heel[1] - 0.03, heel[2]), (toe[0], toe[1] - 0.022, toe[2])
        shapes += [
            Primitive(heel, toe, (0.040, 0.042), (0.040, 0.030), *foot, 1.1, front=_UP, material=Material.SHOE),
            Primitive(*low, (0.043, 0.013), (0.042, 0.013), Part.SHOES, under, 1.1, front=_UP),
        ]
        if kind == "sandals":
            shapes += _sandal_straps(heel, toe, colour)
        elif kind == "boots":
            high = 0.30 + 0.45 * identity.traits["shine"] * (identity["sex"] == "woman")
            base, top = (ankle[0], ankle[1] - 0.03, ankle[2]), between(ankle, knee, high)
            shapes.append(Primitive(base, top, (0.043, 0.043), (0.06, 0.06), Part.SHOES, colour, 3, fold=0.3))
        elif kind == "high heels":
            top, tip = (heel[0], heel[1], heel[2] - 0.02), (heel[0], heel[1] - 0.09, heel[2] - 0.02)
            shapes.append(Primitive(top, tip, (0.014, 0.014), (0.008, 0.008), Part.SHOES, colour))
    return shapes


def _sandal_straps(heel: Vector, toe: Vector, colour: Rgb) -> list[Primitive]:
    straps = []
    for share in (0.45, 0.95):
        at = between(heel, toe, share)
        first, last = (0.042, 0.038 - 0.008 * share), (0.042, 0.038 - 0.01 * share)
        straps.append(Primitive(at, beyond(heel, at, 0.03), first, last, Part.SHOES, colour, FLAT, front=_UP))
    return straps
