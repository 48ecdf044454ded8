"""The gate: whether a candidate may answer, by what `python -m training compare` measured. See decision 0015."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Metric = Literal["R@1", "mAP"]


class Policy(BaseModel):
    """What a candidate must show to be promoted. Differences are candidate - active, in points of percent.

    The default: on the gallery's held-out people a gain that the interval does not doubt, and nowhere (no protected
    split, no subgroup, neither metric) a loss that it does not doubt.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Metric = Field(default="R@1", description="The one that must gain.")
    gain: float | None = Field(
        default=0.0, description="The interval's lower end must lie above this; null asks for no gain."
    )
    tolerance: float = Field(
        default=0.0, ge=0, le=100, description="A loss is one whose whole interval lies below minus this."
    )
    margin: float | None = Field(
        default=None, ge=0, le=100, description="Stricter: the interval's lower end must not lie below minus this."
    )
    least_queries: int = Field(default=20, ge=1, description="Fewer of the gallery's queries cannot decide.")
    least_identities: int = Field(default=5, ge=2, description="Fewer people cannot decide.")
    group_queries: int = Field(default=50, ge=1, description="Least queries of a subgroup that is looked at.")
    group_identities: int = Field(default=10, ge=2, description="Least people of one.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of the intervals.")
    draws: int = Field(default=2000, ge=100, le=100_000, description="Bootstrap samples.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


class Reason(BaseModel):
    """One thing that speaks for or against a candidate."""

    code: Literal["gain", "no_gain", "loss", "too_few", "kept"]
    message: str


class Verdict(BaseModel):
    """What the gate decided, and why."""

    accepted: bool
    reasons: list[Reason]


def judge(policy: Policy, sets: list[dict[str, Any]]) -> Verdict:
    """Decide on figures (`training.studies.comparison`): the first set is the gallery's, the others are protected."""
    gallery = sets[0]
    against = _too_few(policy, gallery)
    losses = [reason for one in sets for reason in _losses(policy, one)]
    told = _gain(policy, gallery)
    against += losses + ([told] if told is not None and told.code == "no_gain" else [])
    if against:
        return Verdict(accepted=False, reasons=against)
    kept = Reason(
        code="kept", message=f"no loss on {len(sets)} split{'s' if len(sets) > 1 else ''} and their subgroups"
    )
    return Verdict(accepted=True, reasons=[kept] if told is None else [told, kept])


def _too_few(policy: Policy, gallery: dict[str, Any]) -> list[Reason]:
    queries, people = gallery["queries"], gallery["identities"]
    if queries >= policy.least_queries and people >= policy.least_identities:
        return []
    words = f"{queries} queries of {people} people cannot decide; the policy asks for {policy.least_queries}"
    return [Reason(code="too_few", message=f"{words} of {policy.least_identities}: describe more images")]


def _gain(policy: Policy, gallery: dict[str, Any]) -> Reason | None:
    if policy.gain is None:
        return None
    told = gallery[policy.metric]
    shown = told["low"] > policy.gain
    return Reason(
        code="gain" if shown else "no_gain",
        message=f"{_words(gallery, policy.metric)}: {'a gain' if shown else 'no gain beyond doubt'}",
    )


def _losses(policy: Policy, one: dict[str, Any]) -> list[Reason]:
    found = []
    for part in (one, *one["groups"]):
        for metric in ("R@1", "mAP"):
            told = part[metric]
            worse = told["high"] < -policy.tolerance
            if worse or (policy.margin is not None and told["low"] < -policy.margin):
                where = f" where {part['name']} is {part['value']}" if part is not one else ""
                found.append(Reason(code="loss", message=f"{_words(one, metric, part)}: a loss{where}"))
    return found


def _words(one: dict[str, Any], metric: str, part: dict[str, Any] | None = None) -> str:
    told = (part or one)[metric]
    interval = f"{told['difference']:+.2f} [{told['low']:+.2f}, {told['high']:+.2f}]"
    return f"{metric} on {one['data']} {one['split']} {told['candidate']:.2f} against {told['active']:.2f}, {interval}"
