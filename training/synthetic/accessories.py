"""What is worn or carried besides clothes: hair, hats, bags and things in the hand."""

from math import cos, sin

from training.synthetic.attributes import Identity
from training.synthetic.body import HEAD_HALF, Figure, beyond
from training.synthetic.parts import Material, Part
from training.synthetic.raster import FLAT, Primitive, Vector

_PHONE = (30.0, 30.0, 34.0)


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
            _strand(body, (0, 0.085 * s, -0.085), (0, 0.09 * s, -0.09), (0.05, 0.045), (0.05, 0.045), tail, colour)
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
    start_size: tuple[float, float],
    end_size: tuple[float, float],
    part: int,
    colour: tuple[float, float, float],
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
    part, plain = int(Part.HAT), int(Material.PLAIN)
    crown = _strand(
        body,
        (0, 0.055 * s, -0.012),
        (0, 0.075 * s, -0.016),
        (wide, deep),
        (wide * 0.97, deep * 0.95),
        part,
        colour,
        1.2,
        plain,
    )
    if kind == "cap":
        peak = _strand(
            body,
            (0, 0.052 * s, deep * 0.5),
            (0, 0.038 * s, deep + 0.085),
            (wide * 0.9, 0.012),
            (wide * 0.7, 0.010),
            part,
            colour,
            1.5,
            plain,
        )
        return [crown, peak._replace(front=(0, 1, 0))]
    if kind == "beanie":
        rim = _strand(
            body,
            (0, 0.028 * s, -0.012),
            (0, 0.052 * s, -0.012),
            (wide + 0.008, deep + 0.008),
            (wide + 0.008, deep + 0.008),
            part,
            colour,
            FLAT,
            plain,
        )
        top = _strand(
            body,
            (0, 0.07 * s, -0.02),
            (0, 0.12 * s, -0.03),
            (wide, deep),
            (wide * 0.7, deep * 0.7),
            part,
            colour,
            1.2,
            plain,
        )
        return [rim, crown, top]
    brim = _strand(
        body,
        (0, 0.052 * s, -0.01),
        (0, 0.062 * s, -0.01),
        (wide + 0.095, deep + 0.085),
        (wide + 0.06, deep + 0.05),
        part,
        colour,
        6,
        plain,
    )
    return [brim, crown]


def bag(identity: Identity, body: Figure) -> list[Primitive]:
    """Backpack, handbag, shoulder bag or suitcase. Straps over the trunk are painted by `shading`."""
    kind = identity["bag"]
    if kind == "none":
        return []
    colour, part = identity.colours["bag"], int(Part.BAG)
    other = "right" if identity.traits["side"] < 0.5 else "left"
    sign = -1.0 if other == "right" else 1.0
    if kind == "backpack":
        depth = body.chest[1] + 0.075
        dark = (colour[0] * 0.82, colour[1] * 0.82, colour[2] * 0.82)
        return [
            Primitive(
                body.trunk(0, 1.36, -depth),
                body.trunk(0, 0.99, -depth - 0.02),
                (0.135, 0.075),
                (0.150, 0.095),
                part,
                colour,
                2.2,
                square=True,
                fold=0.4,
            ),
            Primitive(
                body.trunk(0, 1.15, -depth - 0.07),
                body.trunk(0, 1.02, -depth - 0.08),
                (0.105, 0.045),
                (0.11, 0.05),
                part,
                dark,
                3,
                square=True,
                fold=0.3,
            ),
        ]
    if kind == "shoulder bag":
        x, z = sign * (body.hips[0] + 0.085), 0.02
        return [
            Primitive(
                (x, 0.98, z), (x, 0.78, z), (0.058, 0.135), (0.065, 0.145), part, colour, 3.5, square=True, fold=0.3
            )
        ]
    hand = body.joints[f"{other} hand"]
    if kind == "handbag":
        elbow = body.joints[f"{other} elbow"]
        grip = beyond(elbow, hand, 0.06)
        if hand[1] > elbow[1] - 0.12:  # a bent arm carries it in the crook of the elbow
            grip = (elbow[0] + sign * 0.02, elbow[1] - 0.02, elbow[2] + 0.06)
        return _hanging(grip, (0.065, 0.135), 0.20, 0.13, colour, part)
    x, z = sign * (abs(hand[0]) + 0.10), hand[2] - 0.16
    floor = body.joints["floor"][1]
    shapes = [
        Primitive(
            (x, floor + 0.56, z), (x, floor + 0.06, z), (0.175, 0.115), (0.175, 0.115), part, colour, 6, square=True
        )
    ]
    for dx in (-0.06, 0.06):
        top = (hand[0] + dx * 0.7, hand[1] - 0.06, hand[2])
        shapes.append(
            Primitive((x + dx, floor + 0.55, z), top, (0.011, 0.011), (0.011, 0.011), part, (70.0, 70.0, 74.0))
        )
    return shapes


def _hanging(
    grip: Vector, size: tuple[float, float], height: float, handle: float, colour: tuple[float, float, float], part: int
) -> list[Primitive]:
    """A bag that hangs from the hand by two handles."""
    x, y, z = grip
    top = y - handle
    shapes = [
        Primitive(
            (x, top, z),
            (x, top - height, z),
            size,
            (size[0] * 1.1, size[1] * 1.12),
            part,
            colour,
            4,
            square=True,
            fold=0.3,
        )
    ]
    for dz in (-0.6, 0.6):
        shapes.append(Primitive((x, y, z), (x, top, z + dz * size[1]), (0.010, 0.010), (0.010, 0.010), part, colour))
    return shapes


def carried(identity: Identity, body: Figure) -> list[Primitive]:
    """The thing in the busy hand."""
    kind = identity["carried"]
    if kind == "none":
        return []
    part = int(Part.CARRIED)
    busy = "left" if identity.traits["side"] < 0.5 else "right"
    colour = _PHONE if kind == "phone" else identity.colours["carried"]
    x, y, z = beyond(body.joints[f"{busy} elbow"], body.joints[f"{busy} hand"], 0.06)
    if kind == "phone":
        return [
            Primitive(
                (x, y + 0.10, z), (x, y - 0.04, z + 0.01), (0.042, 0.012), (0.042, 0.012), part, colour, 4, square=True
            )
        ]
    if kind == "cup":
        return [
            Primitive((x, y + 0.10, z), (x, y - 0.04, z), (0.046, 0.046), (0.036, 0.036), part, colour, 6),
            Primitive(
                (x, y + 0.115, z), (x, y + 0.10, z), (0.048, 0.048), (0.048, 0.048), part, (230.0, 230.0, 226.0), 6
            ),
        ]
    if kind == "bottle":
        return [
            Primitive((x, y + 0.08, z), (x, y - 0.16, z), (0.036, 0.036), (0.040, 0.040), part, colour, 3),
            Primitive((x, y + 0.15, z), (x, y + 0.08, z), (0.016, 0.016), (0.034, 0.034), part, colour, 3),
        ]
    if kind == "book":
        return [
            Primitive(
                (x, y + 0.13, z + 0.03),
                (x, y - 0.11, z + 0.02),
                (0.10, 0.022),
                (0.10, 0.022),
                part,
                colour,
                8,
                square=True,
            )
        ]
    if kind == "umbrella":
        return [
            Primitive(
                (x, y - 0.02, z),
                (x, y - 0.52, z + 0.06),
                (0.040, 0.040),
                (0.012, 0.012),
                part,
                colour,
                bulge=0.008,
                fold=0.5,
            ),
            Primitive((x, y + 0.10, z), (x, y - 0.02, z), (0.013, 0.013), (0.013, 0.013), part, (60.0, 44.0, 32.0)),
        ]
    return _hanging((x, y, z), (0.06, 0.13), 0.30, 0.10, colour, part)
