"""Who asked last for a version has it, on both databases."""

from tests.app.test_activation_order import (
    gallery,
    test_a_choice_that_changes_nothing_is_one,
    test_a_job_that_is_queued_while_the_command_line_encodes_is_later,
    test_a_killed_worker_leaves_the_job_in_its_place,
    test_a_later_choice_is_not_undone_by_the_end_of_a_retraining,
    test_a_retry_is_asked_for_anew,
    test_a_rollback_overtakes_an_open_job,
    test_an_open_job_does_not_undo_what_was_acknowledged_since,
    test_asking_twice_is_asking_once,
    test_of_two_jobs_the_one_that_was_asked_for_last_switches,
    test_the_command_line_and_a_server_are_in_one_order,
)

__all__ = [
    "gallery",
    "test_a_choice_that_changes_nothing_is_one",
    "test_a_job_that_is_queued_while_the_command_line_encodes_is_later",
    "test_a_killed_worker_leaves_the_job_in_its_place",
    "test_a_later_choice_is_not_undone_by_the_end_of_a_retraining",
    "test_a_retry_is_asked_for_anew",
    "test_a_rollback_overtakes_an_open_job",
    "test_an_open_job_does_not_undo_what_was_acknowledged_since",
    "test_asking_twice_is_asking_once",
    "test_of_two_jobs_the_one_that_was_asked_for_last_switches",
    "test_the_command_line_and_a_server_are_in_one_order",
]
