"""The skeleton: from an identity's build and a pose to joints in the body frame, and the skin over them.

All lengths are metres of an adult of 1.75 m: a crop is scaled to the person anyway, so a child differs by
proportions only.
"""

from dataclasses import dataclass
from math import cos, radians, sin
from random import Random

from training.synthetic.attributes import Identity
from training.synthetic.parts import Material, Part
from training.synthetic.raster import Primitive, Vector

SIDES = (("left", 1.0), ("right", -1.0))
HEAD_HALF = (0.081, 0.099)
_HIP, _THIGH, _SHIN = 0.93, 0.42, 0.43
_UPPER_ARM, _FOREARM = 0.285, 0.25
_WIDTH = {"slim": 0.89, "average": 1.0, "heavy": 1.2}


@dataclass(frozen=True)
class Pose:
    """One moment of a person. Angles in radians; positive swings forward. `walking`: the stride is visible."""

    walking: bool
    thigh: dict[str, float]
    knee: dict[str, float]
    arm: dict[str, float]
    elbow: dict[str, float]
    spread: dict[str, float]
    head_turn: float
    lean: float


@dataclass(frozen=True)
class Figure:
    """Joints (body frame, metres) and half-sizes (width, depth) of the trunk; `head` is the head's centre,
    `head_scale` its size."""

    joints: dict[str, Vector]
    chest: tuple[float, float]
    waist: tuple[float, float]
    hips: tuple[float, float]
    limb: float
    head: Vector
    head_scale: float
    head_turn: float
    lean: float

    def trunk(self, x: float, y: float, z: float = 0.0) -> Vector:
        """A point of the trunk, moved with the lean of the upper body."""
        return (x, y, z + self.lean * max(0.0, y - _HIP))


def draw_pose(rng: Random, identity: Identity) -> Pose:
    """A random pose that fits what the person carries: a walking phase or a stand, and the arms."""
    walking = rng.random() < 0.62
    swing = rng.uniform(-1, 1) * (radians(24) if walking else radians(5))
    if "skirt" in identity["lower"] or identity["upper"] == "dress" or identity["outer"] == "coat":
        swing *= 0.75
    swing = swing if abs(swing) > radians(9) or not walking else radians(12)
    thigh = {"left": swing, "right": -swing * rng.uniform(0.8, 1.0)}
    knee = {side: abs(min(0.0, angle)) * 1.1 + rng.uniform(0.02, 0.12) for side, angle in thigh.items()}
    arm = {"left": -swing * rng.uniform(0.6, 1.0), "right": swing * rng.uniform(0.6, 1.0)}
    elbow = {side: rng.uniform(0.12, 0.5) for side in arm}
    wide = (
        0.08 if identity["outer"] in ("coat", "puffer jacket", "cardigan", "blazer") else 0.0
    )  # hands stay outside a coat
    spread = {side: rng.uniform(0.06, 0.2) + wide for side in arm}
    busy = "left" if identity.traits["side"] < 0.5 else "right"
    other = "right" if busy == "left" else "left"
    if identity["carried"] in ("phone", "cup", "book"):
        arm[busy], elbow[busy], spread[busy] = rng.uniform(0.1, 0.4), rng.uniform(1.5, 1.9), rng.uniform(0.08, 0.22)
    elif identity["carried"] != "none":
        elbow[busy], arm[busy] = rng.uniform(0.05, 0.25), arm[busy] * 0.4
    if identity["bag"] == "suitcase":
        arm[other], elbow[other], spread[other] = -rng.uniform(0.15, 0.35), 0.1, 0.22
    elif identity["bag"] == "handbag":
        arm[other] *= 0.4
        elbow[other], spread[other] = (1.5, 0.2) if identity.traits["open"] < 0.3 else (0.12, 0.22)
    lean = rng.uniform(-0.03, 0.06) + (rng.uniform(0.08, 0.2) if identity["age"] == "elderly" else 0)
    return Pose(walking, thigh, knee, arm, elbow, spread, radians(rng.gauss(0, 14)), lean)


def figure(identity: Identity, pose: Pose) -> Figure:
    """The skeleton of this person in this pose, with the lower foot on the floor (y = 0)."""
    child, man = identity["age"] == "child", identity["sex"] == "man"
    wide = _WIDTH[identity["build"]] * (0.97 + 0.06 * identity.traits["width"])
    thick = 1.0 + (wide - 1.0) * 1.25
    frame = 0.88 if child else 1.0
    shoulder = (0.178 if man else 0.158) * frame * (0.4 + 0.6 * wide)
    chest = ((0.150 if man else 0.134) * frame * wide, 0.108 * thick)
    waist = ((0.138 if man else 0.114) * frame * (wide if man else wide**1.2), 0.098 * thick)
    hips = ((0.148 if man else 0.156) * frame * wide, 0.112 * thick)
    joints: dict[str, Vector] = {}
    for side, sign in SIDES:
        hip = (sign * 0.085 * wide, _HIP, 0.0)
        knee = _swing(hip, _THIGH, pose.thigh[side], sign * 0.03)
        ankle = _swing(knee, _SHIN, pose.thigh[side] - pose.knee[side], sign * 0.01)
        shoulder_at = (sign * shoulder, 1.372, pose.lean * (1.372 - _HIP))
        elbow = _swing(shoulder_at, _UPPER_ARM, pose.arm[side], sign * (pose.spread[side] + 0.1 * (wide - 0.9)))
        inward = -0.5 if pose.elbow[side] > 1 else 0.3
        hand = _swing(elbow, _FOREARM, pose.arm[side] + pose.elbow[side], sign * pose.spread[side] * inward)
        joints |= {
            f"{side} {name}": point
            for name, point in (
                ("hip", hip),
                ("knee", knee),
                ("ankle", ankle),
                ("shoulder", shoulder_at),
                ("elbow", elbow),
                ("hand", hand),
            )
        }
    drop = min(joints["left ankle"][1], joints["right ankle"][1]) - 0.075
    head_scale = 1.26 if child else 1.0
    head = (0.0, 1.625 + 0.10 * (head_scale - 1), 0.015 + pose.lean * 0.8)
    joints = {name: (x, y, z) for name, (x, y, z) in joints.items()}
    joints["floor"] = (0.0, drop, 0.0)
    return Figure(
        joints, chest, waist, hips, (0.9 + 0.5 * (wide - 0.9)) * frame, head, head_scale, pose.head_turn, pose.lean
    )


def _swing(origin: Vector, length: float, forward: float, outward: float) -> Vector:
    """The far end of a limb that hangs from `origin`, swung forward and outward (radians)."""
    x, y, z = origin
    return (x + length * sin(outward), y - length * cos(forward) * cos(outward), z + length * sin(forward))


def skin(identity: Identity, body: Figure) -> list[Primitive]:
    """Head, neck, arms, hands and legs, before any clothes."""
    colour, limb, joints = identity.colours["skin"], body.limb, body.joints
    scale = body.head_scale
    x, y, z = body.head
    wide, deep = HEAD_HALF[0] * scale, HEAD_HALF[1] * scale
    side, front = (cos(body.head_turn), 0.0, -sin(body.head_turn)), (sin(body.head_turn), 0.0, cos(body.head_turn))
    shapes = [
        Primitive(
            (x, y - 0.05 * scale, z + 0.008),
            (x, y + 0.035 * scale, z),
            (wide * 0.84, deep * 0.9),
            (wide, deep),
            Part.FACE,
            colour,
            1.15,
            side=side,
            front=front,
            material=Material.HEAD,
        ),
        Primitive(body.trunk(0, 1.42), (x, y - 0.06, z - 0.02), (0.056, 0.056), (0.047, 0.047), Part.SKIN, colour),
    ]
    # Under a skirt the thigh starts slimmer, or it would poke through the cloth at the hip.
    thigh = 0.064 if identity["lower"] == "shorts" else 0.056
    for name, _ in SIDES:
        shoulder, elbow, hand = joints[f"{name} shoulder"], joints[f"{name} elbow"], joints[f"{name} hand"]
        hip, knee, ankle = joints[f"{name} hip"], joints[f"{name} knee"], joints[f"{name} ankle"]
        shapes += [
            _limb(shoulder, elbow, 0.047 * limb, 0.037 * limb, colour),
            _limb(elbow, hand, 0.037 * limb, 0.026 * limb, colour, bulge=0.004),
            _limb(hand, beyond(elbow, hand, 0.075), 0.031, 0.026, colour),
            _limb(hip, knee, thigh * limb, 0.052 * limb, colour),
            _limb(knee, ankle, 0.050 * limb, 0.034 * limb, colour, bulge=0.010),
        ]
    return shapes


def _limb(
    start: Vector, end: Vector, r0: float, r1: float, colour: tuple[float, float, float], bulge: float = 0.0
) -> Primitive:
    return Primitive(start, end, (r0, r0), (r1, r1), Part.SKIN, colour, bulge=bulge)


def between(start: Vector, end: Vector, share: float) -> Vector:
    """The point at `share` of the way from `start` to `end`."""
    return (
        start[0] + (end[0] - start[0]) * share,
        start[1] + (end[1] - start[1]) * share,
        start[2] + (end[2] - start[2]) * share,
    )


def beyond(start: Vector, end: Vector, distance: float) -> Vector:
    """The point `distance` metres past `end`, coming from `start`."""
    length = sum((b - a) ** 2 for a, b in zip(start, end, strict=True)) ** 0.5
    return between(start, end, 1 + distance / max(length, 1e-6))
