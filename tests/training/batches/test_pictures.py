"""The pictures that a second data set adds to the batches."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.miniature import write_market
from tests.training.staged import Staged, staged
from training.batches.pairs import TrainingPairs
from training.batches.pictures import number_identities
from training.datasets.preparation import prepare_data
from training.engine.steps import cut
from training.engine.trainer import Trainer
from training.errors import TrainingError
from training.methods import METHODS
from training.methods.base import Batch
from training.processes.ranks import Share


@pytest.fixture(scope="module")
def trainer(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """Market's people are 2, 7, 10 and 11, one of whom is set aside; so an epoch of theirs is one step."""
    folder = tmp_path_factory.mktemp("joint")
    chosen = staged(tiny_set, write_market(folder / "market"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "clip_baseline", Staged)
        yield Trainer(chosen, prepare_data(chosen), folder / "run", device="cpu")


def shared(trainer: Trainer, share: Share) -> TrainingPairs:
    """The batches of one of several processes."""
    data = trainer.data.pictures
    assert data is not None
    return TrainingPairs(
        trainer.data.splits["train"],
        trainer.sources["train"],
        trainer.encoder,
        trainer.recipe,
        share=share,
        pictures=(data.splits["train"], trainer.picture_sources["train"]),
    )


def test_identities_are_numbered_together(trainer: Trainer) -> None:
    train, beside = trainer.data.splits["train"], trainer.data.pictures
    assert beside is not None
    numbers = number_identities(train, beside.splits["train"])
    assert sorted(numbers.values()) == list(range(48 + 3))
    assert {numbers[record.identity] for record in train} == set(range(48))
    size = trainer.pairs.size
    assert (size.pairs, size.images, size.identities, size.pictures) == (192, 96, 51, 9)
    records = [replace(train[0], identity=5), replace(train[0], identity=2)]
    assert number_identities(records, [replace(train[0], identity=5), replace(train[0], identity=3)]) == {
        2: 0,
        5: 1,
        3: 2,
    }


def test_a_step_has_so_many_pictures_of_so_many_people(trainer: Trainer) -> None:
    beside = trainer.data.pictures
    assert beside is not None
    records = beside.splits["train"]
    cameras = {record.camera for record in records}
    seen: Counter[int] = Counter()
    for batch in trainer.pairs.epoch(1):
        pictures = batch.pictures
        assert pictures is not None
        assert pictures.pixels.shape == (4, 3, 32, 16)
        one, other = pictures.identities.view(2, 2).unbind()
        assert one[0] == one[1] != other[0] == other[1]
        assert int(pictures.identities.min()) >= 48  # nobody of the pairs
        for place, identity in zip(pictures.images.tolist(), pictures.identities.tolist(), strict=True):
            theirs = {int(i) for p, i in zip(pictures.images, pictures.identities, strict=True) if p == place}
            assert theirs == {identity}
        spelled = [records[place].camera for place in pictures.images.tolist()]
        for number, camera in zip(pictures.cameras.tolist(), spelled, strict=True):
            assert number == sorted(c for c in cameras if c).index(camera or "")
        seen.update(pictures.images.tolist())
    assert sum(seen.values()) == 4 * trainer.pairs.steps


def test_all_pictures_come_in_whatever_the_length_of_an_epoch(trainer: Trainer) -> None:
    pictures = trainer.pairs.pictures
    assert pictures is not None
    seen = {place for turn in range(60) for place in pictures.members(turn).tolist()}
    assert seen == set(range(len(pictures)))
    assert len({tuple(pictures.members(turn).tolist()) for turn in range(12)}) > 6
    assert torch.equal(pictures.members(3), pictures.members(3))


def test_a_batch_is_the_same_again_and_differs_by_seed(trainer: Trainer) -> None:
    def third(pairs: TrainingPairs) -> Batch:
        return next(pairs.epoch(2, first=3))

    one, again = third(trainer.pairs), third(shared(trainer, Share()))
    assert one.pictures is not None
    assert again.pictures is not None
    assert torch.equal(one.pictures.pixels, again.pictures.pixels)
    assert torch.equal(one.pictures.images, again.pictures.images)
    assert torch.equal(one.pictures.images, trainer.pairs.pictures.members(2 * trainer.pairs.steps + 3))  # type: ignore[union-attr]


def test_processes_share_what_one_would_have(trainer: Trainer) -> None:
    whole = next(trainer.pairs.epoch(0)).pictures
    assert whole is not None
    parts = [next(shared(trainer, Share(rank, 2)).epoch(0)).pictures for rank in (0, 1)]
    for name in ("pixels", "identities", "cameras", "images"):
        together = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(together, getattr(whole, name)), name


def test_micro_batches_cut_pictures_as_they_cut_pairs(trainer: Trainer) -> None:
    batch = next(trainer.pairs.epoch(0))
    halves = cut(batch, 2)
    assert batch.pictures is not None
    for name in ("pixels", "identities", "cameras", "images"):
        joined = torch.cat([getattr(half.pictures, name) for half in halves])
        assert torch.equal(joined, getattr(batch.pictures, name)), name
    assert [len(set(half.pictures.identities.tolist())) for half in halves if half.pictures] == [1, 1]


def test_too_few_people_in_the_second_set_are_told(trainer: Trainer, tmp_path: Path) -> None:
    part = trainer.recipe.data.pictures
    assert part is not None
    more = part.model_copy(update={"batch": 8})
    chosen = trainer.recipe.model_copy(update={"data": trainer.recipe.data.model_copy(update={"pictures": more})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "clip_baseline", Staged)
        with pytest.raises(TrainingError, match=r"data\.pictures: .* 3 identities, fewer than the 4 of one batch"):
            Trainer(chosen, trainer.data, tmp_path, device="cpu")


def test_images_without_words_are_in_no_pair_and_in_no_number(trainer: Trainer, tmp_path: Path) -> None:
    train = trainer.data.splits["train"]
    silent = replace(train[0], identity=0, descriptions=())  # the lowest id, which nobody describes
    records = (silent, *train[1:])
    pairs = TrainingPairs(
        records,
        trainer.sources["train"],
        trainer.encoder,
        trainer.recipe.model_copy(update={"data": trainer.recipe.data}),
    )
    assert pairs.pictures is None
    assert (pairs.size.pairs, pairs.size.images, pairs.size.identities) == (190, 96, 48)
    batch = next(pairs.epoch(0))
    assert batch.pictures is None
    assert 0 not in batch.images.tolist()
    assert int(batch.identities.min()) >= 0
    assert int(batch.identities.max()) < 48
