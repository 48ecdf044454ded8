import pytest
import torch
from torch import Tensor

from training.batches.samplers import seeded
from training.recipes.augmentation import Augmentation

MEAN = (0.5, 0.4, 0.3)


def pictures() -> Tensor:
    return (torch.arange(6 * 3 * 8 * 4) % 256).reshape(6, 3, 8, 4).to(torch.uint8)


def augment(**fields: object) -> Tensor:
    nothing = {"flip": 0.0, "shift": 0, "erase": 0.0}
    return Augmentation(**(nothing | fields))(pictures(), MEAN, seeded(0, 1))  # type: ignore[arg-type]


def test_nothing_asked_nothing_changed() -> None:
    torch.testing.assert_close(augment(), pictures() / 255)


def test_flip_mirrors_left_and_right() -> None:
    torch.testing.assert_close(augment(flip=1.0), (pictures() / 255).flip(3))


def test_shift_moves_and_fills_with_the_mean() -> None:
    moved, before = augment(shift=2), pictures() / 255
    fill = torch.tensor(MEAN)
    seen = set()
    for picture, original in zip(moved, before, strict=True):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.allclose(picture, _moved(original, down, right, fill))
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) > 1


def _moved(picture: Tensor, down: int, right: int, fill: Tensor) -> Tensor:
    out = fill.view(3, 1, 1).expand(3, 8, 4).clone()
    for y in range(8):
        for x in range(4):
            if 0 <= y - down < 8 and 0 <= x - right < 4:
                out[:, y, x] = picture[:, y - down, x - right]
    return out


def test_erase_replaces_a_rectangle_by_the_mean() -> None:
    erased, before = augment(erase=1.0, erase_area=(0.2, 0.3)), pictures() / 255
    for picture, original in zip(erased, before, strict=True):
        gone = (picture != original).any(dim=0)
        rows, columns = gone.nonzero().unbind(1)
        box = picture[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        torch.testing.assert_close(box, torch.tensor(MEAN).view(3, 1, 1).expand_as(box))


def test_relighting_stays_in_range_and_differs_by_picture() -> None:
    relit = augment(brightness=0.5, contrast=0.5, colour=0.3)
    assert 0 <= float(relit.min()) <= float(relit.max()) <= 1
    assert not torch.allclose(relit, pictures() / 255)


def test_the_same_seed_gives_the_same_pictures() -> None:
    whole = Augmentation(brightness=0.2)
    one, two = (whole(pictures(), MEAN, seeded(4, 2, 9)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, whole(pictures(), MEAN, seeded(4, 2, 10)))


@pytest.mark.parametrize(
    "wrong", [{"flip": 1.1}, {"shift": -1}, {"erase": -0.1}, {"erase_area": (0.5, 0.2)}, {"colour": 1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)  # type: ignore[arg-type]
