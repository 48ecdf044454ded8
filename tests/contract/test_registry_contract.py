"""The life of model versions on both databases."""

from tests.app.test_model_registry import (
    gallery,
    test_a_candidate_waits_for_its_gate_and_its_lineage_stays,
    test_a_killed_retirement_is_gone_on_with,
    test_each_space_must_be_there_for_each_image,
    test_images_deleted_meanwhile_are_in_no_version,
    test_old_versions_lose_their_vectors_but_never_the_last_two,
    test_rolling_back_takes_one_activation_back,
    test_the_last_images_are_encoded_within_the_switch,
    test_two_who_activate_at_once_leave_one_version,
)

__all__ = [
    "gallery",
    "test_a_candidate_waits_for_its_gate_and_its_lineage_stays",
    "test_a_killed_retirement_is_gone_on_with",
    "test_each_space_must_be_there_for_each_image",
    "test_images_deleted_meanwhile_are_in_no_version",
    "test_old_versions_lose_their_vectors_but_never_the_last_two",
    "test_rolling_back_takes_one_activation_back",
    "test_the_last_images_are_encoded_within_the_switch",
    "test_two_who_activate_at_once_leave_one_version",
]
