"""PyTorch's compiler at fixed shapes: the exact vectors, and nothing that is compiled for a query."""

import gc
import inspect
import logging
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from app.embedding.runtime import TorchRuntime
from app.embedding.runtimes import compiled
from app.embedding.runtimes.buckets import Buckets, buckets_of, next_length, padded, passes
from app.embedding.runtimes.compiled import CompiledRuntime, _Compiled
from app.embedding.runtimes.graphs import TextGraph
from app.embedding.runtimes.known import RuntimeName
from app.embedding.runtimes.names import COMPILED, EXACT, UNASKED, obstacle
from app.embedding.runtimes.opening import automatic, open_named, open_runtime
from app.embedding.runtimes.parity import LEAST_COSINE, TEXTS, least_cosine, pictures, probes_of
from app.embedding.runtimes.tuning import tune
from app.embedding.service import EncoderService
from app.errors import RuntimeRefusedError, RuntimeUnavailableError
from app.settings import Settings
from models.checkpoint import load_checkpoint, save_checkpoint
from models.clip_baseline import compact_spec, open_clip_spec
from models.encoder import PersonEncoder
from models.registry import build
from models.truncation import cut_texts
from tests.app.test_runtimes import SMALL, WORDS
from tests.app.toy import ToyEncoder, toy_checkpoint, toy_spec
from tests.models.tiny_clip import NAME as TINY_CLIP
from tests.models.tiny_clip import register_tiny_clip
from tests.programs import program

CPU = torch.device("cpu")
CLIP, TOY = Buckets((2,), (77,), (1,)), Buckets((1, 2), (8, 16), (2,))
PRIVATE = compiled._private_folder
Opened = Callable[[RuntimeName], tuple[PersonEncoder, CompiledRuntime]]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Without the steps of the compiler, of which torch tells in thousands of lines."""
    trace = logging.getLogger("torch.__trace")
    level = trace.level
    trace.setLevel(logging.WARNING)
    yield
    trace.setLevel(level)


@pytest.fixture(scope="module")
def written() -> Iterator[Callable[[], dict[str, bytes]]]:
    """One folder for what all tests compile: what they share, headers above all, is compiled once.

    Gives the files in it and how each begins.
    """
    program("g++")
    entered: list[str] = []

    @contextmanager
    def shared() -> Iterator[None]:
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"].startswith(str(place))
        entered.append(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        yield

    def files() -> dict[str, bytes]:
        assert entered  # else nothing was compiled in it
        return {path.name: path.read_bytes()[:2] for path in place.rglob("*") if path.is_file()}

    with pytest.MonkeyPatch.context() as changed, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        changed.setattr(tempfile, "tempdir", folder)
        with PRIVATE():
            changed.setattr(tempfile, "tempdir", None)
            changed.setattr(compiled, "_private_folder", shared)
            yield files


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, written: object) -> Opened:
    """A small CLIP, compiled once for each runtime."""
    home = tmp_path_factory.mktemp("compiled")
    register_tiny_clip(home)
    torch.manual_seed(5)
    encoder = build(open_clip_spec(TINY_CLIP, height=64, width=32)).eval()
    encoder = load_checkpoint(save_checkpoint(encoder, home / "clip", card="# test\n").path)
    settings, made = Settings(data_dir=home / "data", device="cpu"), dict[RuntimeName, CompiledRuntime]()

    def get(name: RuntimeName) -> tuple[PersonEncoder, CompiledRuntime]:
        if (reason := obstacle(name, CPU)) is not None:
            pytest.skip(f"{name}: {reason}")
        if name not in made:
            found = open_named(name, encoder, settings, buckets=CLIP)
            assert isinstance(found, CompiledRuntime)
            made[name] = found
        return encoder, made[name]

    return get


@contextmanager
def nothing_is_compiled() -> Iterator[None]:
    """Where torch raises, in any thread, before it compiles."""
    from torch._dynamo.utils import counters

    before = counters["stats"]["unique_graphs"]
    with torch.compiler.set_stance("fail_on_recompile"):
        yield
    assert counters["stats"]["unique_graphs"] == before > 0


# --- Vectors ---


@pytest.mark.parametrize("runtime", COMPILED)
def test_vectors_are_the_exact_ones_and_nothing_is_compiled_for_them(opened: Opened, runtime: RuntimeName) -> None:
    encoder, found = opened(runtime)
    exact, near = TorchRuntime(encoder), 1e-5 if runtime.endswith("fp32") else 2e-2
    with nothing_is_compiled():
        for texts in (TEXTS, TEXTS[:1], TEXTS[-1:], TEXTS[2:5], TEXTS[:2] * 4):
            ids = encoder.tokenize(texts).ids
            vectors = found.encode_text(ids)
            assert vectors.dtype == torch.float32
            torch.testing.assert_close(vectors, exact.encode_text(ids), atol=near, rtol=0)
        for count in (1, 2, 7):
            pixels = pictures(encoder, count)
            images, expected = found.encode_image(pixels), exact.encode_image(pixels)
            assert set(images) == {"text"}
            assert images["text"].dtype == torch.float32
            torch.testing.assert_close(images["text"], expected["text"], atol=near, rtol=0)
        assert least_cosine(found, probes_of(encoder)) >= LEAST_COSINE


def test_a_larger_shape_than_needed_changes_nothing(opened: Opened) -> None:
    encoder, found = opened("torch-compile-fp32")
    short, long = encoder.tokenize(TEXTS[:1]).ids, encoder.tokenize((TEXTS[0], TEXTS[0], TEXTS[-1])).ids
    alone, among = found.encode_text(short), found.encode_text(long)
    torch.testing.assert_close(among[:2], alone.expand(2, -1), atol=1e-6, rtol=0)
    whole = torch.nn.functional.pad(short, (0, 77 - short.shape[1]))
    torch.testing.assert_close(found.encode_text(whole), alone, atol=1e-6, rtol=0)


def test_neither_threads_nor_their_modes_make_it_compile(opened: Opened) -> None:
    encoder, found = opened("torch-compile-fp32")
    pixels, ids = pictures(encoder, 8), encoder.tokenize(TEXTS).ids
    images, texts = found.encode_image(pixels), found.encode_text(ids)
    gate = threading.Barrier(4)

    def work(number: int) -> None:
        torch.get_num_threads()  # a new thread takes the number of another one at first use, whatever it had set
        torch.set_num_threads(1 + number)
        gate.wait(60)
        with torch.inference_mode(number == 1), torch.autocast("cpu", torch.bfloat16, enabled=number == 2):
            for _ in range(3):
                rows = slice(2 * number, 2 * number + 2)
                alone = found.encode_image(pixels[rows].clone())
                torch.testing.assert_close(alone["text"], images["text"][rows], atol=1e-5, rtol=0)
                torch.testing.assert_close(found.encode_text(ids[rows].clone()), texts[rows], atol=1e-5, rtol=0)
        assert torch.get_num_threads() == 1 + number

    with nothing_is_compiled(), ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_padding_of_words_changes_nothing(written: object) -> None:
    encoder = build(compact_spec(WORDS, height=32, width=16, length=64, **SMALL)).eval()
    ids = cut_texts(encoder.tokenize(TEXTS[2:4]).ids, encoder.spec.tokenizer)
    graph = _Compiled(TextGraph(encoder), padded(ids, (3, 32)), torch.float32)
    (vectors,) = graph(ids)
    torch.testing.assert_close(vectors[:2], TorchRuntime(encoder).encode_text(ids), atol=1e-6, rtol=0)
    weight = weakref.ref(next(encoder.parameters()))
    del graph, encoder
    gc.collect()
    assert weight() is None  # what torch keeps of a version that is gone has no weights


def test_what_would_be_compiled_anew_is_an_error(opened: Opened) -> None:
    _, found = opened("torch-compile-fp32")
    one = found._made[2, 77]
    with pytest.raises(Exception, match=r"compiled for \(2, 77\) and would be compiled anew"), one._state():
        one._run(torch.zeros(2, 154, dtype=torch.int64)[:, ::2])
    with pytest.raises(ValueError, match="78 tokens, and none longer than 77"):
        found.encode_text(torch.tensor([[1] * 77 + [49407]]))


# --- Shapes ---


def test_every_batch_is_cut_into_passes_that_hold_it() -> None:
    for sizes in ((1,), (8,), (1, 8), (1, 8, 32), (3, 5)):
        for filled in (0.0, 0.5):
            for rows in range(1, 80):
                cut = passes(rows, sizes, filled=filled)
                assert sum(taken for taken, _ in cut) == rows
                assert all(0 < taken <= size and size in sizes for taken, size in cut)


def test_a_pass_is_padded_when_that_costs_less() -> None:
    assert passes(1, (1, 8), filled=0.5) == [(1, 1)]
    assert passes(3, (1, 8), filled=0.5) == [(1, 1)] * 3
    assert passes(5, (1, 8), filled=0.5) == [(5, 8)]
    assert passes(17, (1, 8), filled=0.5) == [(8, 8), (8, 8), (1, 1)]
    assert passes(3, (1, 8, 32), filled=0.0) == [(3, 8)]
    assert passes(70, (1, 8, 32), filled=0.0) == [(32, 32), (32, 32), (6, 8)]


def test_texts_are_padded_behind_and_rows_repeated() -> None:
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    assert padded(ids, (3, 4)).tolist() == [[5, 6, 7, 0], [8, 9, 0, 0], [8, 9, 0, 0]]
    assert padded(ids[:, :2], (2, 2)).stride() == (2, 1)
    assert [next_length(tokens, (16, 32)) for tokens in (1, 16, 17, 32)] == [16, 16, 32, 32]


@pytest.mark.parametrize("sizes", [(), (0, 1), (8, 1), (1, 1)])
def test_sizes_that_make_no_sense_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the sizes of lengths must be at least 1 and ascend"):
        Buckets((1,), sizes, (1,))


def test_the_shapes_of_a_service_reach_the_longest_text() -> None:
    toy = ToyEncoder(toy_spec())
    assert buckets_of(toy, CPU) == Buckets((1, 8), (16,), (1, 8))
    assert buckets_of(toy, torch.device("cuda")).shapes == 6


# --- Opening, on the toy ---


@pytest.fixture
def toy(tmp_path: Path, written: object, monkeypatch: pytest.MonkeyPatch) -> tuple[PersonEncoder, Settings]:
    monkeypatch.setattr(compiled, "buckets_of", lambda *_: TOY)
    encoder = load_checkpoint(toy_checkpoint(tmp_path / "toy", two_spaces=True))
    return encoder, Settings(data_dir=tmp_path / "data", device="cpu", runtime="torch-compile-fp32")


def test_the_service_encodes_without_compiling(toy: tuple[PersonEncoder, Settings]) -> None:
    encoder, settings = toy
    service, exact = EncoderService(encoder, settings), TorchRuntime(encoder)
    pixels, texts = pictures(encoder, 5), [" ".join(["red coat", "blue", "a " * 9][: 1 + n % 3]) for n in range(7)]
    try:
        with nothing_is_compiled():
            service.warm_up()
            futures = [service.submit_text(text, probe=True) for text in texts]
            vectors = torch.stack([torch.from_numpy(future.result(60).vector) for future in futures])
            query = torch.from_numpy(service.submit_picture(pixels[0]).result(60))
            images = service.encode_images(list(pixels))
            here = service.encode_here(list(pixels))
    finally:
        service.close()
    torch.testing.assert_close(vectors, exact.encode_text(encoder.tokenize(texts).ids), atol=1e-5, rtol=0)
    for space, expected in exact.encode_image(pixels).items():
        torch.testing.assert_close(torch.from_numpy(images[space]), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.from_numpy(here[space]), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(query, exact.encode_image(pixels[:1])["image"][0], atol=1e-5, rtol=0)


def test_what_the_compiler_writes_is_code_and_no_pickle(
    toy: tuple[PersonEncoder, Settings], written: Callable[[], dict[str, bytes]]
) -> None:
    open_runtime(*toy)
    files = written()
    assert {Path(name).suffix for name in files} >= {".cpp", ".so", ".py"}
    assert not [name for name, first in files.items() if first.startswith(b"\x80")]  # how a pickle begins


def test_where_the_compiler_writes_is_private_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import codecache

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = dict(os.environ), codecache._HEADER_DIR
    with PRIVATE():
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        places = os.environ["TORCHINDUCTOR_CACHE_DIR"], os.environ["TRITON_CACHE_DIR"], codecache._HEADER_DIR
        assert all(Path(place).is_relative_to(folder) for place in places)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="disk full"), PRIVATE():
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []
    assert (dict(os.environ), codecache._HEADER_DIR) == before


def test_tuning_measures_it_when_it_is_named(toy: tuple[PersonEncoder, Settings]) -> None:
    encoder, settings = toy
    auto = settings.model_copy(update={"runtime": "auto"})
    told: list[tuple[str, str]] = []
    record = tune(encoder, auto, names=("torch-compile-fp32",), seconds=0.05, progress=lambda *what: told.append(what))
    assert told[2:] == [
        ("torch-compile-fp32", "compiling, which may take minutes"),
        ("torch-compile-fp32", "measuring"),
    ]
    assert [one.runtime for one in record.measured] == [EXACT, "torch-compile-fp32"]
    assert record.measured[1].cosine >= LEAST_COSINE
    assert record.choice == automatic(encoder, auto)[0]


def test_it_is_measured_only_if_it_is_named() -> None:
    assert set(COMPILED) == {"torch-compile-fp32", "torch-compile-bf16"}
    assert not set(COMPILED) & set(UNASKED)
    assert inspect.signature(tune).parameters["names"].default == UNASKED


def test_without_a_compiler_it_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = ToyEncoder(toy_spec())
    settings = Settings(data_dir=tmp_path, device="cpu", runtime="torch-compile-fp32")
    with monkeypatch.context() as changed:
        changed.setenv("PATH", str(tmp_path))
        changed.delenv("CXX", raising=False)
        with pytest.raises(RuntimeUnavailableError, match=r"no C\+\+ compiler \(g\+\+\).*apt-get install g\+\+"):
            open_runtime(encoder, settings)
    program("g++")
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match=r"Python\.h.*apt-get install python3-dev"):
        open_runtime(encoder, settings)


def test_what_is_compiled_wrongly_is_refused(
    toy: tuple[PersonEncoder, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shifted(TextGraph):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids).roll(1, dims=1)

    monkeypatch.setattr(compiled, "TextGraph", Shifted)
    with pytest.raises(RuntimeRefusedError, match=r"compiled for 2 x 8, this checkpoint .* less than 0\.9999"):
        open_runtime(*toy)


def test_a_network_that_cannot_be_compiled_is_refused(tmp_path: Path) -> None:
    program("g++")

    class Undecided(ToyEncoder):
        def encode_text(self, token_ids: Tensor) -> Tensor:
            return super().encode_text(token_ids if float(token_ids.sum()) > 3 else token_ids + 1)

    settings = Settings(data_dir=tmp_path, device="cpu", runtime="torch-compile-fp32")
    with pytest.raises(RuntimeRefusedError, match="toy on none cannot be compiled for 1 x 16"):
        open_runtime(Undecided(toy_spec()), settings)
