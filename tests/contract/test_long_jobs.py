"""Exports and indexing on both databases: the tests of the service, run again over each."""

from tests.app.test_exports import (
    elsewhere,
    test_a_killed_export_goes_on_with_the_next_picture,
    test_what_a_job_exports_can_be_ingested,
    test_what_is_deleted_before_the_end_is_not_exported,
)
from tests.app.test_indexing_jobs import (
    other,
    test_a_cancelled_encoding_keeps_what_it_has_and_does_not_switch,
    test_an_incomplete_version_is_activated_by_a_job,
    test_images_that_come_while_a_job_encodes_are_encoded_too,
)

__all__ = [
    "elsewhere",
    "other",
    "test_a_cancelled_encoding_keeps_what_it_has_and_does_not_switch",
    "test_a_killed_export_goes_on_with_the_next_picture",
    "test_an_incomplete_version_is_activated_by_a_job",
    "test_images_that_come_while_a_job_encodes_are_encoded_too",
    "test_what_a_job_exports_can_be_ingested",
    "test_what_is_deleted_before_the_end_is_not_exported",
]
