"""What the first people of an answer say about each candidate, and about whether the person is there at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.registry.active import LoadedModel
from app.search.grouping import RankedIdentity
from app.search.query import Query
from app.search.ranking import Ranking
from models.presence import DEPTH, PresenceRule

PEOPLE = DEPTH
"""How many people of an answer are looked at, whatever the page shows."""
_RATHER_NOT = 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """The first people of an answer.

    Attributes:
        scores: theirs, best first; at most `PEOPLE`.
        images: how many images the first one has in what was searched.
        words: of the descriptions, where nothing but words was asked for; None for anything else.
        rule: what the version has learnt about scores; None if nothing, or not about scores of this kind.
        least_words: a description with fewer fits too many people to say that somebody is not there.
    """

    ranking: Ranking
    scores: tuple[float, ...]
    images: int
    words: int | None
    rule: PresenceRule | None
    least_words: int = 0

    @property
    def presence(self) -> float | None:
        """The probability, 0 to 1, that the person is there; None if nobody knows, or nothing was searched."""
        if not self.scores:
            return None
        if self.rule is None:
            return self.ranking.confidence(self.scores[0])
        return self.rule.presence(self.scores[0], self.images)

    @property
    def no_good_match(self) -> bool | None:
        """Whether the person is probably not there: False also where a description is too short to tell. None if nobody
        knows; where nothing was searched, nobody is there."""
        there = self.presence
        if there is None:
            return True if self.ranking.calibrated and not self.scores else None
        if self.rule is not None:
            return self.rule.no_good_match(there, self.words)
        return there < _RATHER_NOT and (self.words is None or self.words >= self.least_words)

    def confidence(self, score: float) -> float | None:
        """The probability that a candidate with this score is the person."""
        there = self.presence
        if self.rule is None or there is None:
            return self.ranking.confidence(score)
        return round(self.rule.confidence(score, self.scores, there), 4)


def standing_of(model: LoadedModel, query: Query, ranking: Ranking, people: Sequence[RankedIdentity]) -> Standing:
    """The standing of an answer.

    Args:
        people: the first identities of the whole scope, best first, whatever was shown before.
    """
    first, text = query.parts[0], model.rules.get("text")
    # What was learnt is about cosines with one vector as it was encoded, and a fused score is none.
    plain = len(query.parts) == 1 and not query.composed and not first.learnt
    rule = model.rules.get(first.space) if plain else None
    counted = [part.words for part in query.parts if not part.negative]
    words = None if None in counted else sum(filter(None, counted))
    scores = tuple(entry.score for entry in people[:PEOPLE])
    images = people[0].count if people else 0
    return Standing(ranking, scores, images, words, rule, 0 if text is None else text.words)
