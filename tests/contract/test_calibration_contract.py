"""Confidence learnt on the gallery, on both databases."""

from tests.app.test_gallery_calibration import (
    other,
    test_near_duplicates_and_second_copies_are_left_out,
    test_people_who_are_held_out_are_asked_first,
)

__all__ = [
    "other",
    "test_near_duplicates_and_second_copies_are_left_out",
    "test_people_who_are_held_out_are_asked_first",
]
