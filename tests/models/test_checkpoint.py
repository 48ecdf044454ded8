import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint import CARD, DEMO, SPEC, WEIGHTS, load_checkpoint, read_info, save_checkpoint
from models.clip_baseline import ClipBaseline, compact_spec
from models.errors import CheckpointError


@pytest.fixture
def encoder() -> ClipBaseline:
    torch.manual_seed(0)
    spec = compact_spec(("red", "blue", "man"), height=32, width=16, image_width=4, text_width=8, dim=16)
    return ClipBaseline(spec).eval()


@pytest.fixture
def folder(encoder: ClipBaseline, tmp_path: Path) -> Path:
    return save_checkpoint(encoder, tmp_path / "checkpoint", card="# A card\n").path


def test_a_checkpoint_gives_the_same_vectors_again(encoder: ClipBaseline, folder: Path) -> None:
    loaded = load_checkpoint(folder)
    assert not loaded.training
    assert (folder / WEIGHTS).stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in folder.iterdir()) == sorted([WEIGHTS, SPEC, CARD])
    pixels = torch.rand(3, 3, 32, 16)
    torch.testing.assert_close(loaded.encode_image(pixels), encoder.encode_image(pixels), atol=1e-6, rtol=0)
    ids = encoder.tokenize(["red man", "blue"]).ids
    torch.testing.assert_close(loaded.encode_text(ids), encoder.encode_text(ids), atol=1e-6, rtol=0)


def test_half_precision_is_smaller_and_nearly_the_same(encoder: ClipBaseline, tmp_path: Path) -> None:
    full = save_checkpoint(encoder, tmp_path / "full", card="")
    half = save_checkpoint(encoder, tmp_path / "half", card="", precision="fp16")
    assert (half.path / WEIGHTS).stat().st_size < 0.6 * (full.path / WEIGHTS).stat().st_size
    assert half.fingerprint != full.fingerprint
    ids = encoder.tokenize(["red man"]).ids
    cosine = (load_checkpoint(half.path).encode_text(ids) * encoder.encode_text(ids)).sum()
    assert float(cosine.detach()) > 0.9999


def test_the_fingerprint_follows_the_content(encoder: ClipBaseline, folder: Path, tmp_path: Path) -> None:
    again = save_checkpoint(encoder, tmp_path / "again", card="another card")
    assert again.fingerprint == read_info(folder).fingerprint
    spec = json.loads((folder / SPEC).read_text())
    spec["preprocessing"]["mean"] = [0.1, 0.1, 0.1]
    (folder / SPEC).write_text(json.dumps(spec))
    assert again.fingerprint != read_info(folder).fingerprint


@pytest.mark.parametrize("missing", [WEIGHTS, SPEC])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing):
        load_checkpoint(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "nowhere")


class _Boom:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was executed')",))


def test_a_pickle_is_refused_and_never_executed(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(_Boom()))
    with pytest.raises(CheckpointError, match="safetensors"):
        load_checkpoint(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw[:keep])
    with pytest.raises(CheckpointError, match="safetensors"):
        load_checkpoint(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    name = "backbone.text_tower.word.weight"
    state[name] = torch.zeros(3, 3)
    save_file(state, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "alchemy"),
        ("format", 99),
        ("preprocessing", {"height": 1}),
        ("spaces", {}),
        ("tokenizer", {"kind": "x"}),
    ],
)
def test_a_spec_that_cannot_be_is_refused(folder: Path, field: str, value: object) -> None:
    spec = json.loads((folder / SPEC).read_text()) | {field: value}
    (folder / SPEC).write_text(json.dumps(spec))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


def test_spec_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / SPEC).write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_info(folder)


def test_the_shipped_checkpoint_is_small_and_complete() -> None:
    encoder = load_checkpoint(DEMO)
    assert (DEMO / WEIGHTS).stat().st_size < 8_000_000
    assert sum(parameter.numel() for parameter in encoder.parameters()) < 4_000_000
    assert (DEMO / CARD).read_text().startswith("# ")
