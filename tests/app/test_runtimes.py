"""Every runtime gives the vectors of the exact one: on `compact`, on a small CLIP, in both spaces of HPL."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from app.embedding.runtime import TorchRuntime
from app.embedding.runtimes import opening
from app.embedding.runtimes.graphs import TextGraph
from app.embedding.runtimes.half import HalfRuntime, halved
from app.embedding.runtimes.known import RuntimeName
from app.embedding.runtimes.names import EXACT, UNASKED, machine, obstacle
from app.embedding.runtimes.opening import automatic, open_named, open_runtime
from app.embedding.runtimes.parity import LEAST_COSINE, TEXTS, least_cosine, pictures, probes_of
from app.embedding.runtimes.records import read_record
from app.embedding.service import EncoderService
from app.errors import RuntimeRefusedError, RuntimeUnavailableError
from app.settings import Settings, load_settings
from models.checkpoint import DEMO, load_checkpoint, save_checkpoint
from models.clip_baseline import compact_spec, open_clip_spec
from models.encoder import EncoderSpec, PersonEncoder
from models.hpl import hpl_clip_spec, hpl_compact_spec
from models.registry import build
from tests.models.tiny_clip import NAME as TINY_CLIP
from tests.models.tiny_clip import register_tiny_clip

CPU = torch.device("cpu")
WORDS = ("red", "black", "man", "woman", "person", "jacket", "bag", "shoes", "white", "blue", "a", "with")
SMALL = {"image_width": 4, "text_width": 8, "dim": 16}
SPECS: dict[str, Callable[[], EncoderSpec]] = {  # called when open_clip knows the tiny model
    "compact": lambda: compact_spec(WORDS, height=32, width=16, length=64, **SMALL),
    "hpl": lambda: hpl_compact_spec(WORDS, height=48, width=24, options=SMALL),
    "clip": lambda: open_clip_spec(TINY_CLIP, height=64, width=32),
    "hpl-clip": lambda: hpl_clip_spec(TINY_CLIP, height=64, width=32),
}
Loaded = Callable[[str], tuple[PersonEncoder, Settings]]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Encoders from checkpoints, all with one data folder, so that each is exported once."""
    folder = tmp_path_factory.mktemp("runtimes")
    register_tiny_clip(folder)
    settings = Settings(data_dir=folder / "data", device="cpu", min_free_bytes=0)
    made: dict[str, PersonEncoder] = {}

    def get(name: str) -> tuple[PersonEncoder, Settings]:
        if name not in made:
            torch.manual_seed(5)
            encoder = build(SPECS[name]()).eval()
            part_the_spaces(encoder)
            made[name] = load_checkpoint(save_checkpoint(encoder, folder / name, card="# test\n").path)
        return made[name], settings

    return get


@torch.no_grad()
def part_the_spaces(encoder: PersonEncoder) -> None:
    """HPL begins with equal read-outs; here they must differ, or a mistaken space would not be seen."""
    for name, parameter in encoder.named_parameters():
        if "i2i" in name:
            parameter.add_(torch.randn_like(parameter))


def available(name: RuntimeName) -> None:
    if (reason := obstacle(name, CPU)) is not None:
        pytest.skip(f"{name}: {reason}")


ONNX_TOO = ("hpl", "hpl-clip")
"""An export takes seconds; these two have all that the others have."""
CASES = [(s, r) for s in SPECS for r in UNASKED if r != EXACT and (not r.startswith("onnx") or s in ONNX_TOO)]


@pytest.mark.parametrize(("name", "runtime"), CASES)
def test_vectors_are_those_of_the_exact_runtime(loaded: Loaded, name: str, runtime: RuntimeName) -> None:
    available(runtime)
    encoder, settings = loaded(name)
    found, exact = open_named(runtime, encoder, settings), TorchRuntime(encoder)
    near = 1e-5 if runtime.endswith("fp32") else 2e-2
    for texts in (TEXTS, TEXTS[:1], TEXTS[-1:], TEXTS[2:5]):
        ids = encoder.tokenize(texts).ids
        vectors = found.encode_text(ids)
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors, exact.encode_text(ids), atol=near, rtol=0)
    for count in (1, 2, 7):
        pixels = pictures(encoder, count)
        images, expected = found.encode_image(pixels), exact.encode_image(pixels)
        assert set(images) == set(encoder.spec.stored_spaces)
        for space in encoder.spec.stored_spaces:
            assert images[space].dtype == torch.float32
            torch.testing.assert_close(images[space], expected[space], atol=near, rtol=0)
            torch.testing.assert_close(images[space].norm(dim=1), torch.ones(count), atol=1e-4, rtol=0)
    assert least_cosine(found, probes_of(encoder)) >= LEAST_COSINE


def test_the_spaces_of_these_encoders_differ(loaded: Loaded) -> None:
    for name in ("hpl", "hpl-clip"):
        encoder, _ = loaded(name)
        images = TorchRuntime(encoder).encode_image(pictures(encoder, 3))
        assert float((images["text"] * images["image"]).sum(dim=1).max()) < 0.99


@pytest.mark.parametrize("runtime", UNASKED)
def test_many_threads_encode_at_once(loaded: Loaded, runtime: RuntimeName) -> None:
    available(runtime)
    encoder, settings = loaded("hpl")
    found = open_named(runtime, encoder, settings)
    pixels, ids = pictures(encoder, 12), encoder.tokenize(TEXTS).ids
    images, texts = found.encode_image(pixels), found.encode_text(ids)
    gate = threading.Barrier(4)

    def work(number: int) -> None:
        torch.set_num_threads(1 + number % 2)
        gate.wait(60)
        for _ in range(5):
            first = 3 * number
            alone = found.encode_image(pixels[first : first + 3])
            torch.testing.assert_close(alone["image"], images["image"][first : first + 3], atol=5e-3, rtol=0)
            row = 2 * number
            torch.testing.assert_close(found.encode_text(ids[row : row + 2]), texts[row : row + 2], atol=5e-3, rtol=0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_half_precision_shares_what_it_does_not_convert(loaded: Loaded) -> None:
    encoder, _ = loaded("clip")
    half = halved(encoder, torch.bfloat16)
    ours, theirs = dict(encoder.named_parameters()), dict(half.named_parameters())
    shared = {name for name in ours if ours[name] is theirs[name]}
    converted = {name for name in ours if theirs[name].dtype == torch.bfloat16}
    assert shared | converted == set(ours)
    assert "backbone.clip.token_embedding.weight" in shared
    assert all("ln_" in name or "emb" in name or "proj" in name or "scale" in name for name in shared)
    assert any("attn.in_proj_weight" in name for name in converted)
    assert all(parameter.dtype == torch.float32 for parameter in ours.values())
    assert half.tokenizer is encoder.tokenizer


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: fp16 was never run")
def test_fp16_on_a_gpu(loaded: Loaded) -> None:
    encoder, _ = loaded("clip")
    probes = probes_of(encoder)
    on_gpu = build(encoder.spec).eval()
    on_gpu.load_state_dict(encoder.state_dict())
    assert least_cosine(HalfRuntime(on_gpu.to("cuda"), torch.float16), probes) >= LEAST_COSINE


def test_the_service_encodes_with_the_runtime_of_the_settings(tmp_path: Path) -> None:
    available("openvino-fp32")
    settings = Settings(data_dir=tmp_path, device="cpu", runtime="openvino-fp32", min_free_bytes=0)
    service, exact = EncoderService.load(DEMO, settings), load_checkpoint(DEMO)
    assert type(service._runtime).__name__ == "OpenVinoRuntime"
    try:
        vector = service.submit_text(TEXTS[4]).result(60).vector
        pixels = pictures(exact, 5)
        images = service.encode_images(list(pixels))["text"]
        query = service.submit_picture(pixels[0]).result(60)
    finally:
        service.close()
    with torch.inference_mode():
        text = exact.encode_text(exact.tokenize([TEXTS[4]]).ids)[0]
        image = exact.encode_image(exact.normalise(pixels))["text"]
    torch.testing.assert_close(torch.from_numpy(vector), text, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(images), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(query), image[0], atol=1e-5, rtol=0)


def test_openvino_tells_nobody_that_it_is_used(loaded: Loaded) -> None:
    available("openvino-fp32")
    encoder, settings = loaded("hpl")
    open_named("openvino-fp32", encoder, settings)
    assert sys.modules["openvino_telemetry"] is None
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


# --- Which one is chosen ---


def test_a_runtime_that_is_not_installed_is_an_error(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, settings = loaded("compact")
    monkeypatch.setattr("app.embedding.runtimes.names.version_of", lambda _: None)
    for name, extra in (("openvino-bf16", "openvino"), ("onnx-fp32", "onnx")):
        with pytest.raises(RuntimeUnavailableError, match=rf"not installed.*\[cpu,{extra}\]"):
            open_runtime(encoder, settings.model_copy(update={"runtime": name}))


def test_what_this_machine_lacks_is_an_error(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, settings = loaded("compact")
    with pytest.raises(RuntimeUnavailableError, match="fp16 is for GPUs"):
        open_runtime(encoder, settings.model_copy(update={"runtime": "torch-fp16"}))
    monkeypatch.setattr("app.embedding.runtimes.names.has_bf16", lambda _: False)
    with pytest.raises(RuntimeUnavailableError, match="no bfloat16 instructions"):
        open_runtime(encoder, settings.model_copy(update={"runtime": "torch-bf16"}))


def test_an_unknown_runtime_is_refused_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.errors import ConfigurationError

    monkeypatch.setenv("DESCRY_RUNTIME", "tensorrt")
    with pytest.raises(ConfigurationError, match=r"DESCRY_RUNTIME.*openvino-bf16"):
        load_settings()


def test_auto_is_exact_for_small_encoders_and_bf16_for_large_ones(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, settings = loaded("clip")
    assert automatic(encoder, settings)[0] == EXACT
    monkeypatch.setattr(opening, "LARGE", 1000)
    monkeypatch.setattr("app.embedding.runtimes.names.has_bf16", lambda _: True)
    name, why = automatic(encoder, settings)
    assert (name, "descry tune" in why) == ("torch-bf16", True)
    monkeypatch.setattr("app.embedding.runtimes.names.has_bf16", lambda _: False)
    assert automatic(encoder, settings)[0] == EXACT


def test_auto_says_that_it_falls_back(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    available("torch-bf16")
    encoder, settings = loaded("clip")
    elsewhere = settings.model_copy(update={"data_dir": tmp_path})
    monkeypatch.setattr(opening, "LARGE", 1000)
    monkeypatch.setattr(opening, "LEAST_COSINE", 1.1)
    assert type(open_runtime(encoder, elsewhere)) is TorchRuntime
    assert "torch-fp32 instead of torch-bf16" in caplog.text


def test_vectors_that_are_too_far_are_refused(loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    available("torch-bf16")
    encoder, settings = loaded("clip")
    asked = settings.model_copy(update={"data_dir": tmp_path, "runtime": "torch-bf16"})

    class Wrong(HalfRuntime):
        def encode_text(self, ids: torch.Tensor) -> torch.Tensor:
            return super().encode_text(ids).roll(1, dims=1)

    monkeypatch.setattr(opening, "HalfRuntime", Wrong)
    with pytest.raises(RuntimeRefusedError, match=r"torch-bf16 gives vectors .* less than 0\.9999"):
        open_runtime(encoder, asked)
    # The verdict is kept with the number, and holds at the next start too.
    kept = read_record(opening.home_of(encoder, asked), machine(CPU)).cosines["torch-bf16"]
    assert kept < LEAST_COSINE
    with pytest.raises(RuntimeRefusedError, match=f"{kept:.6f}"):
        open_runtime(encoder, asked)


def test_not_a_number_is_no_parity(loaded: Loaded) -> None:
    encoder, _ = loaded("compact")

    class Broken(TorchRuntime):
        def encode_text(self, ids: torch.Tensor) -> torch.Tensor:
            return super().encode_text(ids) * float("nan")

    class Short(TorchRuntime):
        def encode_text(self, ids: torch.Tensor) -> torch.Tensor:
            return super().encode_text(ids)[:1]

    for wrong in (Broken(encoder), Short(encoder)):
        assert least_cosine(wrong, probes_of(encoder)) == -1.0


def test_an_encoder_without_a_checkpoint_is_not_exported(tmp_path: Path) -> None:
    available("openvino-fp32")
    encoder = build(SPECS["compact"]()).eval()
    with pytest.raises(RuntimeUnavailableError, match="loaded from a checkpoint"):
        open_runtime(encoder, Settings(data_dir=tmp_path, runtime="openvino-fp32"))


def test_an_export_that_gives_other_vectors_is_refused_and_removed(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    available("openvino-fp32")
    encoder, settings = loaded("compact")
    asked = settings.model_copy(update={"data_dir": tmp_path, "runtime": "openvino-fp32"})

    class Shifted(TextGraph):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return super().forward(ids).roll(1, dims=1)

    with monkeypatch.context() as changed:
        changed.setattr("app.embedding.runtimes.openvino_export.TextGraph", Shifted)
        with pytest.raises(RuntimeRefusedError, match="openvino-fp32 gives vectors"):
            open_runtime(encoder, asked)
    home = opening.home_of(encoder, asked)
    assert [path.name for path in home.iterdir() if path.is_dir()] == []
    kept = read_record(home, machine(CPU))
    assert kept.cosines["openvino-fp32"] < LEAST_COSINE
