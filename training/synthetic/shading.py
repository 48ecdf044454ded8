"""Colour and light of one person's visible surface: patterns, prints, openings, straps, faces, folds and shadow.

Every texture is a function of the position on the body (metres, body frame), so it turns and bends with the person.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.synthetic.attributes import Identity
from training.synthetic.body import Figure
from training.synthetic.clothing import coat_hem
from training.synthetic.parts import Material, Part
from training.synthetic.raster import FOLD, RED, Floats, Projection, Surface, View
from training.synthetic.scene import Camera

Bools = NDArray[np.bool_]
_NOISE = 256


class Paint:
    """The surface of one person while it is being coloured: n pixels.

    `colour` (3, n) float32, 8-bit sRGB steps; `part` (n,) uint8; `x`, `y`, `z` (n,) body metres; `ahead` (n,) how
    much the surface faces forward, -1..1.
    """

    def __init__(self, scene: Projection, seen: Surface, view: View) -> None:
        back = view.matrix().T / np.float32(view.scale * view.scale)
        offset = np.array([[view.x], [view.y], [view.z]], np.float32)
        self.x, self.y, self.z = back @ (seen.point - offset)
        self.ahead = (back[2] * np.float32(view.scale)) @ seen.normal
        self.sideways = (back[0] * np.float32(view.scale)) @ seen.normal
        self.part = scene.parts[seen.number]
        self.material = scene.materials[seen.number]
        self.colour = scene.table[RED : RED + 3, seen.number]
        self.fold = scene.table[FOLD, seen.number]

    def blend(
        self, where: Bools, colour: tuple[float, float, float], share: float | Floats = 1.0, part: int | None = None
    ) -> None:
        """Mix `colour` into the pixels of `where`; with `part`, they show that part from now on."""
        at = np.flatnonzero(where)
        if not at.size:
            return
        weight = share if isinstance(share, float) else share[at]
        old = self.colour[:, at]
        self.colour[:, at] = old + (np.array(colour, np.float32)[:, None] - old) * weight
        if part is not None:
            self.part[at] = part

    def darken(self, where: Bools, gain: float) -> None:
        """Multiply the colour of the pixels of `where`."""
        self.colour[:, where] *= np.float32(gain)


def paint(identity: Identity, body: Figure, scene: Projection, seen: Surface, view: View) -> Paint:
    """Textures of one person: what a flat colour per primitive cannot say."""
    surface = Paint(scene, seen, view)
    upper = (surface.material == Material.UPPER_TORSO) | (surface.material == Material.UPPER_SLEEVE)
    _layer(identity, body, surface)
    upper |= (surface.part == Part.UPPER) & (surface.material == Material.OUTER_TORSO)
    _pattern(identity, surface, upper)
    _front(identity, body, surface)
    _legs(identity, surface)
    _straps(identity, surface)
    _face(identity, body, surface)
    return surface


def opening(identity: Identity) -> float:
    """Half the width of an open jacket's gap at the waist, metres; 0 for one that is closed."""
    kind, trait = identity["outer"], identity.traits["open"]
    if kind == "none":
        return 0.0
    closed = {"jacket": 0.45, "puffer jacket": 0.6, "blazer": 0.2, "cardigan": 0.15, "vest": 0.35, "coat": 0.5}[kind]
    return 0.0 if trait < closed else 0.035 + 0.05 * (trait - closed) / (1 - closed)


def _layer(identity: Identity, body: Figure, surface: Paint) -> None:
    """The front of jackets and coats: what an opening shows, the zip or lapels of one that is closed, quilting."""
    kind = identity["outer"]
    if kind == "none":
        return
    trunk = (surface.material == Material.OUTER_TORSO) | (surface.material == Material.OUTER_SKIRT)
    front = trunk & (surface.ahead > 0.1)
    gap, x = opening(identity), np.abs(surface.x)
    inner = identity.colours["upper"]
    if gap:
        flare = np.where(surface.y > 1.2, 0.0, 0.06) * (1.2 - surface.y)
        shown = front & (x < gap + flare)
        surface.darken(front & (x < gap + flare + 0.018), 0.7)
        above = shown & (surface.y > 0.94)
        surface.blend(above, inner, part=Part.UPPER)
        surface.darken(above & (x > gap + flare - 0.014), 0.78)
        below = shown & ~above
        legs = identity.colours.get("lower", inner)
        surface.blend(
            below,
            (legs[0] * 0.8, legs[1] * 0.8, legs[2] * 0.8),
            part=Part.LOWER if "lower" in identity.colours else Part.UPPER,
        )
    else:
        neck = 1.5 - (0.16 if kind in ("blazer", "cardigan", "coat") else 0.05)
        vee = front & (surface.y > neck) & (x < (surface.y - neck) * 0.42)
        surface.darken(front & (surface.y > neck - 0.03) & (x < (surface.y - neck + 0.03) * 0.6), 0.75)
        surface.blend(vee, inner, part=Part.UPPER)
        surface.darken(front & (x < 0.008) & (surface.y < neck), 0.55)
    if kind in ("puffer jacket", "vest"):
        quilted = trunk | (surface.material == Material.OUTER_SLEEVE)
        wave = 0.5 + 0.5 * np.cos(surface.y * (2 * np.pi / 0.085))
        keep = (surface.part == Part.OUTER) & quilted
        surface.colour[:, keep] *= (0.66 + 0.44 * np.sqrt(wave[keep])).astype(np.float32)
    if kind == "coat":
        surface.darken((surface.material == Material.OUTER_SKIRT) & (surface.y < coat_hem(identity) + 0.015), 0.8)


def _pattern(identity: Identity, surface: Paint, upper: Bools) -> None:
    kind = identity["upper_pattern"]
    if kind in ("plain", "print"):
        return
    accent = identity.colours["accent"]
    period = 0.052 + 0.045 * identity.traits["period"]
    if kind == "stripes":
        duty = 0.3 + 0.25 * identity.traits["flare"]
        upright = identity["upper"] in ("shirt", "blouse") and identity.traits["shine"] < 0.5
        where = _lateral(surface) if upright else surface.y
        surface.blend(upper & (np.mod(where / period, 1.0) < duty), accent)
        return
    rows = np.mod(surface.y / period, 1.0) < 0.46
    columns = np.mod(_lateral(surface) / period, 1.0) < 0.46
    share = (0.42 * rows + 0.42 * columns).astype(np.float32)
    surface.blend(upper & (rows | columns), accent, share)


def _lateral(surface: Paint) -> Floats:
    """A coordinate around the trunk: x where the surface looks ahead, z where it looks aside."""
    around: Floats = np.where(np.abs(surface.ahead) > np.abs(surface.sideways), surface.x, surface.z)
    return around


def _front(identity: Identity, body: Figure, surface: Paint) -> None:
    """Neckline, buttons, pocket and print of the upper garment, all on its front only."""
    front = (surface.material == Material.UPPER_TORSO) & (surface.ahead > 0.15)
    kind, colour, x = identity["upper"], identity.colours["upper"], np.abs(surface.x)
    light = sum(colour) > 380
    if kind in ("t-shirt", "long-sleeved top", "tank top", "dress", "sweater"):
        depth = {"tank top": 0.11, "dress": 0.09}.get(kind, 0.045)
        neck = front & ((x / (0.06 + 0.25 * depth)) ** 2 + ((surface.y - 1.475) / (depth + 0.02)) ** 2 < 1)
        surface.blend(neck, identity.colours["skin"], part=Part.SKIN)
    if kind == "tank top":
        bare = (surface.material == Material.UPPER_TORSO) & (x > 0.115) & (surface.y > 1.30)
        surface.blend(bare, identity.colours["skin"], part=Part.SKIN)
    if kind in ("shirt", "blouse"):
        surface.darken(front & (x < 0.013), 0.62)
        surface.darken(front & (np.abs(surface.y - 1.40 + x * 0.5) < 0.012) & (x < 0.085), 0.7)
        surface.blend(
            front & (surface.y > 1.42) & (x < (surface.y - 1.40) * 0.45), identity.colours["skin"], part=Part.SKIN
        )
    if kind == "polo shirt":
        surface.darken(front & (x < 0.022) & (surface.y > 1.29), 0.55)
        surface.blend(
            front & (surface.y > 1.43) & (x < (surface.y - 1.42) * 0.5), identity.colours["skin"], part=Part.SKIN
        )
    if kind == "sweater":  # ribbed hem and neck
        trunk = surface.material == Material.UPPER_TORSO
        surface.darken(trunk & (surface.y < 0.945), 0.72)
        surface.darken(front & ((x / 0.10) ** 2 + ((surface.y - 1.475) / 0.095) ** 2 < 1), 0.72)
    if kind == "hoodie":
        pocket = front & (surface.y > 0.96) & (surface.y < 1.10) & (x < 0.11 - (surface.y - 0.96) * 0.25)
        surface.darken(pocket, 0.68)
        surface.blend(
            front & (np.abs(x - 0.030) < 0.010) & (surface.y > 1.28) & (surface.y < 1.43),
            (230, 230, 226) if not light else (60, 60, 64),
        )
    if kind == "dress":
        surface.darken((surface.material == Material.UPPER_TORSO) & (np.abs(surface.y - 1.06) < 0.014), 0.66)
    if identity["upper_pattern"] == "print" and identity["outer"] == "none":
        _print(identity, surface, front)


def _print(identity: Identity, surface: Paint, front: Bools) -> None:
    """A picture or lettering on the chest."""
    trait = identity.traits["print"]
    accent = identity.colours["accent"]
    x, y = surface.x, surface.y - 1.25
    if trait < 0.34:  # a disc with a core
        r = np.hypot(x, y)
        surface.blend(front & (r < 0.088), accent, part=Part.PRINT)
        surface.darken(front & (r < 0.045), 0.6)
    elif trait < 0.7:  # two lines of letters
        rows = (np.abs(y - 0.035) < 0.026) | (np.abs(y + 0.035) < 0.026)
        letters = np.mod(x * 31 + np.floor(y * 14) * 0.4, 1.0) < 0.78
        surface.blend(front & rows & (np.abs(x) < 0.105) & letters, accent, part=Part.PRINT)
    else:  # a square picture
        box = front & (np.abs(x) < 0.085) & (np.abs(y) < 0.095)
        surface.blend(box, accent, part=Part.PRINT)
        surface.darken(box & (np.abs(x + 0.02) + np.abs(y) < 0.055), 0.55)


def _legs(identity: Identity, surface: Paint) -> None:
    legs = surface.material == Material.LEG
    if identity["lower"] == "jeans":
        fade = np.clip(surface.ahead, 0, 1) * np.exp(-(((surface.y - 0.66) / 0.16) ** 2))
        surface.colour[:, legs] *= (0.92 + 0.30 * fade[legs]).astype(np.float32)
    elif identity["lower"] == "joggers":
        light = sum(identity.colours["lower"]) > 400
        outside = legs & (np.abs(surface.sideways) > 0.90) & (np.abs(surface.x) > 0.1)
        surface.blend(outside, (40, 40, 44) if light else (228, 228, 224), 0.9)
    elif identity["lower"] == "trousers":
        surface.darken(legs & (np.abs(np.abs(surface.x) - 0.09) < 0.006) & (surface.ahead > 0.5), 0.85)
    if identity["lower"] != "none" and identity["upper"] in ("shirt", "blouse"):
        belt = legs & (surface.y > 0.955) & (surface.y < 0.99)
        surface.blend(belt, (40, 30, 26), 0.85)


def _straps(identity: Identity, surface: Paint) -> None:
    """Straps of a backpack in front and over the shoulders; the strap of a shoulder bag across chest and back."""
    kind = identity["bag"]
    trunk = (surface.material == Material.UPPER_TORSO) | (surface.material == Material.OUTER_TORSO)
    x = surface.x
    if kind == "backpack":
        strap = trunk & (np.abs(np.abs(x) - 0.098) < 0.024) & (surface.y > 1.10) & (surface.z > -0.05)
    elif kind == "shoulder bag":
        sign = -1.0 if identity.traits["side"] < 0.5 else 1.0
        strap = trunk & (np.abs(x * sign - (1.42 - surface.y) * 0.55 + 0.11) < 0.022) & (surface.y > 0.9)
    else:
        return
    colour = identity.colours["bag"]
    surface.blend(strap, (colour[0] * 0.9, colour[1] * 0.9, colour[2] * 0.9), part=Part.STRAP)


def _face(identity: Identity, body: Figure, surface: Paint) -> None:
    head = np.flatnonzero(surface.material == Material.HEAD)
    if not head.size:
        return
    c, s, scale = np.cos(body.head_turn), np.sin(body.head_turn), body.head_scale
    rx, rz = surface.x[head] - body.head[0], surface.z[head] - body.head[2]
    x, z = np.abs(rx * c - rz * s) / scale, (rx * s + rz * c) / scale
    y = (surface.y[head] - body.head[1]) / scale
    mask = np.zeros(surface.x.shape, bool)

    def put(where: Bools, colour: tuple[float, float, float], share: float, part: int | None = None) -> None:
        mask[head] = where
        surface.blend(mask, colour, share, part)

    front = z > 0.035
    skin_colour = identity.colours["skin"]
    dark = (skin_colour[0] * 0.25, skin_colour[1] * 0.22, skin_colour[2] * 0.22)
    put(front & (np.abs(x - 0.031) < 0.013) & (np.abs(y - 0.008) < 0.008), dark, 0.6)
    put(front & (np.abs(x - 0.032) < 0.018) & (np.abs(y - 0.029) < 0.005), dark, 0.4)
    put(front & (x < 0.011) & (np.abs(y + 0.028) < 0.007), dark, 0.35)
    put(front & (x < 0.025) & (np.abs(y + 0.055) < 0.007), (150, 60, 60), 0.5)
    if identity["hair_length"] == "bald":
        put((y > 0.05) | ((z < -0.02) & (y > -0.03)), skin_colour, 0.0, Part.SCALP)
    if identity["glasses"] == "sunglasses":
        put((z > 0.02) & (np.abs(y - 0.010) < 0.021) & (x > 0.006), (16, 16, 18), 1.0, Part.GLASSES)
        put((z > -0.05) & (z <= 0.03) & (np.abs(y - 0.018) < 0.007), (16, 16, 18), 1.0, Part.GLASSES)
    elif identity["glasses"] == "glasses":
        lens = np.maximum(np.abs(x - 0.033) / 0.028, np.abs(y - 0.008) / 0.024)
        put((z > 0.02) & (lens < 1.0) & (lens > 0.66), (22, 20, 22), 0.95, Part.GLASSES)
        put((z > 0.02) & (lens <= 0.66), (210, 220, 226), 0.25, Part.GLASSES)
        put((z > 0.02) & (x < 0.008) & (np.abs(y - 0.014) < 0.008), (22, 20, 22), 0.95, Part.GLASSES)
        put((z > -0.05) & (z <= 0.03) & (np.abs(y - 0.018) < 0.006), (22, 20, 22), 0.9, Part.GLASSES)


@lru_cache(maxsize=1)
def _fabric() -> Floats:
    """(2, 256, 256) float32: slopes of a smooth random height field with stretched creases, about -1..1, tileable
    enough."""
    rng = np.random.default_rng(20240229)
    total = np.zeros((_NOISE, _NOISE), np.float32)
    for rows, columns, weight in ((20, 14, 1.0), (44, 30, 0.45)):
        coarse = Image.fromarray(rng.normal(0, 1, (rows, columns)).astype(np.float32))
        total += weight * np.asarray(coarse.resize((_NOISE, _NOISE), Image.Resampling.BICUBIC))
    slopes = np.stack(np.gradient(total)).astype(np.float32)
    fabric: Floats = slopes / np.float32(slopes.std() * 2)
    return fabric


def light(surface: Paint, seen: Surface, camera: Camera, offset: int, view: View) -> Floats:
    """(n,) float32 brightness of each pixel: ambient from above, the camera's lamp, folds, and darkening at the
    outline."""
    fabric = _fabric()
    u = ((_lateral(surface) * 190).astype(np.intp) + offset) % _NOISE
    v = ((surface.y * 190).astype(np.intp) + offset * 7) % _NOISE
    bump = fabric[:, v, u] * surface.fold
    nx, ny, nz = seen.normal[0] + 0.30 * bump[1], seen.normal[1] + 0.40 * bump[0], seen.normal[2]
    lx, ly, lz = camera.light
    lamp = np.maximum(nx * lx + ny * ly + nz * lz, 0)
    sky = 0.80 - 0.20 * ny
    brightness: Floats = camera.ambient * sky + camera.diffuse * lamp
    brightness *= 0.74 + 0.26 * np.minimum(nz * 1.6, 1)
    brightness *= 1.0 + 0.06 * bump[0]
    return brightness
