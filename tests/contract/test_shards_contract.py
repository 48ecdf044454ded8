"""Shards of an encoding on both databases: the tests of the service, run again over each."""

from tests.app.test_indexing_jobs import other
from tests.app.test_shards import (
    test_a_cancel_reaches_whoever_has_a_shard,
    test_pictures_that_are_gone_are_named_and_stop_nothing,
    test_two_workers_encode_each_image_once,
    test_what_a_worker_loses_goes_to_the_next_one_as_it_is,
)

__all__ = [
    "other",
    "test_a_cancel_reaches_whoever_has_a_shard",
    "test_pictures_that_are_gone_are_named_and_stop_nothing",
    "test_two_workers_encode_each_image_once",
    "test_what_a_worker_loses_goes_to_the_next_one_as_it_is",
]
