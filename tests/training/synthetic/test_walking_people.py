"""People who stand in generated videos: where they are and for how long."""

import pytest

from training.synthetic.walking import WalkingConfig, walkers


def test_people_stand_half_way_and_the_first_was_there_before() -> None:
    config = WalkingConfig(seed=2, people=3, seconds=30.0, stand_s=12.0)
    plain = walkers(WalkingConfig(seed=2, people=3, seconds=30.0))
    for place, (one, walks) in enumerate(zip(walkers(config), plain, strict=True)):
        half = (one.end - one.begin - 12.0) / 2
        stands = [one.at(one.begin + half + share * 12.0) for share in (0.01, 0.5, 0.99)]
        assert stands[0] is not None
        assert stands[0][0] == stands[1][0] == stands[2][0]  # type: ignore[index]
        before, after = one.at(one.begin + half - 0.5), one.at(one.begin + half + 12.5)
        assert before is not None
        assert after is not None
        assert before[0] != stands[0][0] != after[0]
        assert one.end - one.begin == pytest.approx(walks.end - walks.begin + 12.0)
        assert place > 0 or one.begin == pytest.approx(-half)
    assert walkers(config)[0].at(0.0) is not None
