"""What is worn or carried besides clothes: hair, hats, bags and things in the hand."""

from math import cos, sin

from training.synthetic.attributes import Identity
from training.synthetic.body import HEAD_HALF, Figure, beyond
from training.synthetic.palette import Rgb
from training.synthetic.parts import Material, Part
from training.synthetic.raster import FLAT, Primitive, Vector

_PHONE: Rgb = (30.0, 30.0, 34.0)
_METAL: Rgb = (70.0, 70.0, 74.0)
_LID: Rgb = (230.0, 230.0, 226.0)
_WOOD: Rgb = (60.0, 44.0, 32.0)
Size = tuple[float, float]  # half-width, half-depth


def hair(identity: Identity, body: Figure) -> list[Primitive]:
    """The cap of hair, and what falls, hangs or is tied behind."""
    length, style = identity["hair_length"], identity["hair_style"]
    if length == "bald":
        return []
    colour, s = identity.colours["hair"], body.head_scale
    wide, deep = HEAD_HALF[0] * s, HEAD_HALF[1] * s
    full = 0.010 if identity["sex"] == "woman" else 0.005
    size = (wide + full, deep + full * 0.8)
    shapes = [
        _strand(body, (0, 0.058 * s, -0.014), (0, 0.040 * s, -0.022), size, size, Part.HAIR, colour),
        _strand(
            body,
            (0, 0.04 * s, -0.03),
            (0, -0.055 * s, -0.028),
            (wide + full, deep * 0.80),
            (wide * 0.86, deep * 0.72),
            Part.HAIR,
            colour,
        ),
    ]
    if style == "none":
        return shapes
    tail = int(Part.TAIL)
    if style == "bun":
        shapes.append(
            _strand(body, (0, 0.10 * s, -0.10), (0, 0.105 * s, -0.105), (0.064, 0.058), (0.064, 0.058), tail, colour)
        )
    elif style == "ponytail":
        low = -0.16 if length == "medium" else -0.30
        shapes.append(_strand(body, (0, 0.05, -0.115), (0, -0.06, -0.155), (0.03, 0.03), (0.045, 0.04), tail, colour))
        shapes.append(_strand(body, (0, -0.06, -0.155), (0, low, -0.145), (0.045, 0.04), (0.014, 0.014), tail, colour))
    else:
        low = -0.17 if length == "medium" else -0.32 - 0.16 * identity.traits["length"]
        back = -0.10 if length == "medium" else -0.155
        spread = 0.088 + 0.02 * (length == "long")
        shapes.append(
            _strand(body, (0, -0.02, -0.055), (0, low, back), (wide + 0.016, 0.068), (spread, 0.042), tail, colour, 2.2)
        )
        ends = -0.13 if length == "medium" else -0.25
        for sign in (1.0, -1.0):
            top, tip = (sign * wide * 0.88, 0.04, 0.0), (sign * (wide + 0.018), ends, 0.05)
            shapes.append(_strand(body, top, tip, (0.026, 0.045), (0.030, 0.030), tail, colour))
    return shapes


def _strand(
    body: Figure,
    start: Vector,
    end: Vector,
    start_size: Size,
    end_size: Size,
    part: int,
    colour: Rgb,
    cap: float = 1.0,
    material: int = Material.HAIR,
) -> Primitive:
    """A primitive given relative to the head's centre, turned with the head."""
    c, s = cos(body.head_turn), sin(body.head_turn)

    def place(point: Vector) -> Vector:
        x, y, z = point
        return (body.head[0] + x * c + z * s, body.head[1] + y, body.head[2] - x * s + z * c)

    return Primitive(
        place(start),
        place(end),
        start_size,
        end_size,
        part,
        colour,
        cap,
        side=(c, 0, -s),
        front=(s, 0, c),
        material=material,
        fold=0.6 if material == Material.HAIR else 0.2,
    )


def hat(identity: Identity, body: Figure) -> list[Primitive]:
    """A cap with its peak, a beanie, or a sun hat with its brim."""
    kind = identity["hat"]
    if kind == "none":
        return []
    colour, s = identity.colours["hat"], body.head_scale
    wide, deep = HEAD_HALF[0] * s + 0.014, HEAD_HALF[1] * s + 0.014

    def piece(start: Vector, end: Vector, first: Size, last: Size, cap: float) -> Primitive:
        return _strand(body, start, end, first, last, int(Part.HAT), colour, cap, int(Material.PLAIN))

    crown = piece((0, 0.055 * s, -0.012), (0, 0.075 * s, -0.016), (wide, deep), (wide * 0.97, deep * 0.95), 1.2)
    if kind == "cap":
        start, end = (0, 0.052 * s, deep * 0.5), (0, 0.038 * s, deep + 0.085)
        peak = piece(start, end, (wide * 0.9, 0.012), (wide * 0.7, 0.010), 1.5)
        return [crown, peak._replace(front=(0, 1, 0))]
    if kind == "beanie":
        around = (wide + 0.008, deep + 0.008)
        rim = piece((0, 0.028 * s, -0.012), (0, 0.052 * s, -0.012), around, around, FLAT)
        top = piece((0, 0.07 * s, -0.02), (0, 0.12 * s, -0.03), (wide, deep), (wide * 0.7, deep * 0.7), 1.2)
        return [rim, crown, top]
    under, over = (wide + 0.095, deep + 0.085), (wide + 0.06, deep + 0.05)
    return [piece((0, 0.052 * s, -0.01), (0, 0.062 * s, -0.01), under, over, 6), crown]


def bag(identity: Identity, body: Figure) -> list[Primitive]:
    """Backpack, handbag, shoulder bag or suitcase. Straps over the trunk are painted by `shading`."""
    kind = identity["bag"]
    if kind == "none":
        return []
    colour = identity.colours["bag"]
    other = "right" if identity.traits["side"] < 0.5 else "left"
    sign = -1.0 if other == "right" else 1.0
    if kind == "backpack":
        return _backpack(body, colour)
    if kind == "shoulder bag":
        x, z = sign * (body.hips[0] + 0.085), 0.02
        return [_box((x, 0.98, z), (x, 0.78, z), (0.058, 0.135), (0.065, 0.145), Part.BAG, colour, 3.5)]
    hand = body.joints[f"{other} hand"]
    if kind == "suitcase":
        return _suitcase(body, hand, sign, colour)
    elbow = body.joints[f"{other} elbow"]
    grip = beyond(elbow, hand, 0.06)
    if hand[1] > elbow[1] - 0.12:  # a bent arm carries it in the crook of the elbow
        grip = (elbow[0] + sign * 0.02, elbow[1] - 0.02, elbow[2] + 0.06)
    return _hanging(grip, (0.065, 0.135), 0.20, 0.13, colour, int(Part.BAG))


def _box(start: Vector, end: Vector, first: Size, last: Size, part: int, colour: Rgb, cap: float) -> Primitive:
    return Primitive(start, end, first, last, part, colour, cap, square=True, fold=0.3)


def _backpack(body: Figure, colour: Rgb) -> list[Primitive]:
    depth = body.chest[1] + 0.075
    dark = (colour[0] * 0.82, colour[1] * 0.82, colour[2] * 0.82)
    top, bottom = body.trunk(0, 1.36, -depth), body.trunk(0, 0.99, -depth - 0.02)
    over, under = body.trunk(0, 1.15, -depth - 0.07), body.trunk(0, 1.02, -depth - 0.08)
    return [
        _box(top, bottom, (0.135, 0.075), (0.150, 0.095), Part.BAG, colour, 2.2),
        _box(over, under, (0.105, 0.045), (0.11, 0.05), Part.BAG, dark, 3),
    ]


def _suitcase(body: Figure, hand: Vector, sign: float, colour: Rgb) -> list[Primitive]:
    """A case on the floor beside and behind the hand, with its drawn-out handle."""
    x, floor, z = sign * (abs(hand[0]) + 0.10), body.joints["floor"][1], hand[2] - 0.16
    size, thin = (0.175, 0.115), (0.011, 0.011)
    shapes = [Primitive((x, floor + 0.56, z), (x, floor + 0.06, z), size, size, Part.BAG, colour, 6, square=True)]
    for dx in (-0.06, 0.06):
        top = (hand[0] + dx * 0.7, hand[1] - 0.06, hand[2])
        shapes.append(Primitive((x + dx, floor + 0.55, z), top, thin, thin, Part.BAG, _METAL))
    return shapes


def _hanging(grip: Vector, size: Size, height: float, handle: float, colour: Rgb, part: int) -> list[Primitive]:
    """A bag that hangs from the hand by two handles."""
    x, y, z = grip
    top, thin = y - handle, (0.010, 0.010)
    shapes = [_box((x, top, z), (x, top - height, z), size, (size[0] * 1.1, size[1] * 1.12), part, colour, 4)]
    for dz in (-0.6, 0.6):
        shapes.append(Primitive((x, y, z), (x, top, z + dz * size[1]), thin, thin, part, colour))
    return shapes


def carried(identity: Identity, body: Figure) -> list[Primitive]:
    """The thing in the busy hand."""
    kind, part = identity["carried"], int(Part.CARRIED)
    if kind == "none":
        return []
    busy = "left" if identity.traits["side"] < 0.5 else "right"
    colour = _PHONE if kind == "phone" else identity.colours["carried"]
    x, y, z = beyond(body.joints[f"{busy} elbow"], body.joints[f"{busy} hand"], 0.06)

    def upright(high: float, low: float, first: float, last: float, tone: Rgb, cap: float) -> Primitive:
        return Primitive((x, y + high, z), (x, y + low, z), (first, first), (last, last), part, tone, cap)

    if kind == "phone":
        size = (0.042, 0.012)
        return [Primitive((x, y + 0.10, z), (x, y - 0.04, z + 0.01), size, size, part, colour, 4, square=True)]
    if kind == "book":
        size = (0.10, 0.022)
        return [Primitive((x, y + 0.13, z + 0.03), (x, y - 0.11, z + 0.02), size, size, part, colour, 8, square=True)]
    if kind == "cup":
        return [upright(0.10, -0.04, 0.046, 0.036, colour, 6), upright(0.115, 0.10, 0.048, 0.048, _LID, 6)]
    if kind == "bottle":
        return [upright(0.08, -0.16, 0.036, 0.040, colour, 3), upright(0.15, 0.08, 0.016, 0.034, colour, 3)]
    if kind == "umbrella":
        cloth = Primitive((x, y - 0.02, z), (x, y - 0.52, z + 0.06), (0.040, 0.040), (0.012, 0.012), part, colour)
        return [cloth._replace(bulge=0.008, fold=0.5), upright(0.10, -0.02, 0.013, 0.013, _WOOD, 1)]
    return _hanging((x, y, z), (0.06, 0.13), 0.30, 0.10, colour, part)
