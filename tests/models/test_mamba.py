"""`SelectiveSSM` against transformers' MambaMixer, plain loops, and packages that stand in for mamba-ssm's kernels.

No GPU runs here as a rule. What is shown without one: which tensors go to the kernels, with which arguments, layouts
and types (fake CUDA tensors have all of these and no values), and that a kernel which computes what mamba-ssm documents
gives the same result. That the real kernels do is `test_the_kernels_agree_with_the_scan`, which wants a GPU.
"""

import math
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from models import mamba
from models.mamba import Kernels, MambaStack, SelectiveSSM, kernels_for

STUBS = {
    "mamba_ssm/__init__.py": "",
    "mamba_ssm/ops/__init__.py": "",
    "mamba_ssm/ops/selective_scan_interface.py": """
        import torch
        CALLS = []
        def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False,
                              return_last_state=False):
            if not u.is_cuda:
                raise RuntimeError("Expected u.is_cuda() to be true")
            assert all(x.stride(-1) == 1 and x.dtype == u.dtype for x in (u, delta, B, C, z))
            assert all(x.dtype == torch.float32 for x in (A, D, delta_bias))
            assert delta.shape == z.shape == u.shape and B.shape == C.shape == (len(u), A.shape[1], u.shape[2])
            CALLS.append((tuple(u.shape), u.dtype))
            return torch.empty_like(u)
    """,
    "causal_conv1d/__init__.py": """
        import torch
        CALLS = []
        def causal_conv1d_fn(x, weight, bias=None, seq_idx=None, initial_states=None, return_final_states=False,
                             final_states_out=None, activation=None):
            if not x.is_cuda:
                raise RuntimeError("Expected x.is_cuda() to be true")
            assert x.stride(-1) == 1 and weight.dtype == bias.dtype == x.dtype and activation in (None, "silu", "swish")
            assert weight.shape[0] == x.shape[1] and 2 <= weight.shape[1] <= 4
            CALLS.append(tuple(x.shape))
            return torch.empty_like(x)
    """,
}


@pytest.fixture
def fresh() -> Iterator[None]:
    """The kernels are looked for anew, and what was found is forgotten afterwards."""

    def forget() -> None:
        mamba._kernels.cache_clear()
        for name in [name for name in sys.modules if name.split(".")[0] in ("mamba_ssm", "causal_conv1d")]:
            del sys.modules[name]

    forget()
    yield
    forget()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, without: str = "-") -> None:
    for name, text in STUBS.items():
        if not name.startswith(without):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(folder))


def mixer(dim: int = 256) -> MambaMixer:
    return MambaMixer(MambaConfig(hidden_size=dim, state_size=16, conv_kernel=4, expand=2, num_hidden_layers=2), 1)


def test_parameters_are_named_shaped_and_initialised_as_mamba_ssms() -> None:
    torch.manual_seed(0)
    ours, theirs = SelectiveSSM(256), mixer()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 437_760
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}
    torch.testing.assert_close(ours.A_log, theirs.A_log, atol=0, rtol=0)
    torch.testing.assert_close(ours.D, theirs.D, atol=0, rtol=0)
    assert ours.dt_proj.weight.abs().max() <= 0.25  # dt_rank 16
    steps = F.softplus(ours.dt_proj.bias)
    assert 0.00099 < steps.min() < 0.0015
    assert 0.07 < steps.max() < 0.1001
    assert steps.log().mean().item() == pytest.approx(math.log(0.01), abs=0.2)  # even in the logarithm
    for name in ("in_proj.weight", "x_proj.weight", "out_proj.weight", "conv1d.weight", "conv1d.bias"):
        values, expected = ours.get_parameter(name), theirs.get_parameter(name)
        assert values.abs().max().item() == pytest.approx(expected.abs().max().item(), rel=0.02)


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("given", ["ours", "theirs"])
def test_it_is_transformers_mixer_forward_and_backward(length: int, given: str) -> None:
    torch.manual_seed(length)
    ours, theirs = SelectiveSSM(256), mixer()
    if given == "ours":
        theirs.load_state_dict(ours.state_dict())
    else:
        ours.load_state_dict(theirs.state_dict())
    x, upstream = torch.randn(3, length, 256), torch.randn(3, length, 256)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    for module, value in zip((ours, theirs), inputs, strict=True):
        (module(value) * upstream).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-6, rtol=0)
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, atol=1e-6, rtol=0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    u, delta, z = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    b, c = (torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    a = (-torch.rand(3, 5, dtype=torch.float64)).requires_grad_()
    d, bias = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def scan(*values: Tensor) -> Tensor:
        u, delta, a, b, c, d, z, bias = values
        return mamba.selective_scan(u, delta, a, b, c, d, z=z, delta_bias=bias, delta_softplus=True)

    assert torch.autograd.gradcheck(scan, (u, delta, a, b, c, d, z, bias))


@torch.inference_mode()
def test_no_place_sees_a_later_one_and_no_sample_another() -> None:
    torch.manual_seed(0)
    layer, x = SelectiveSSM(32), torch.randn(2, 6, 32)
    whole = layer(x)
    torch.testing.assert_close(layer(x[:, :3]), whole[:, :3], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(layer(x[1:]), whole[1:], atol=1e-6, rtol=1e-5)
    changed = x.clone()
    changed[0, 0] += 1
    assert (layer(changed)[0, -1] - whole[0, -1]).abs().max() > 1e-6


@torch.inference_mode()
def test_layers_have_residuals_and_the_norm_is_a_choice() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 32)
    plain = MambaStack(32, layers=2, norm=False)
    after = x + plain.mixers[0](x)
    torch.testing.assert_close(plain(x), after + plain.mixers[1](after))
    normed = MambaStack(32, layers=1, norm=True)
    torch.testing.assert_close(normed(x), normed.norms[1](x + normed.mixers[0](normed.norms[0](x))))
    assert MambaStack(32, layers=0, norm=False)(x) is x


def test_autocast_rounds_the_products_and_not_the_recurrence() -> None:
    torch.manual_seed(0)
    layer, x = SelectiveSSM(64), torch.randn(4, 5, 64)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    rounded.float().sum().backward()
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.02 * exact.norm()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.usefixtures("fresh")
def test_installed_kernels_do_not_touch_cpu_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = SelectiveSSM(32), torch.randn(2, 3, 32)
    before = layer(x)
    install(tmp_path, monkeypatch)
    found = kernels_for(torch.device("cuda", 0))
    assert found is not None
    assert found.scan.__module__ == "mamba_ssm.ops.selective_scan_interface"
    with pytest.raises(RuntimeError, match="is_cuda"):  # the stub does refuse, as the kernels do
        found.scan(x, x, x, x, x)
    for training in (True, False):
        torch.testing.assert_close(layer.train(training)(x), before, atol=0, rtol=0)
    assert kernels_for(torch.device("cpu")) is None


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_cuda_tensors_go_to_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype
) -> None:
    install(tmp_path, monkeypatch)
    # Autocast switches itself off where there is no GPU.
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    with FakeTensorMode(), torch.device("cuda"):
        layer = SelectiveSSM(32)
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            out = layer(torch.empty(2, 5, 32))
    assert out.shape == (2, 5, 32)
    assert out.device.type == "cuda"
    scans = sys.modules["mamba_ssm.ops.selective_scan_interface"].CALLS
    assert [(tuple(shape), dtype) for shape, dtype in scans] == [((2, 64, 5), precision)]
    assert sys.modules["causal_conv1d"].CALLS == [(2, 64, 5)]


@pytest.mark.usefixtures("fresh")
def test_without_causal_conv1d_the_scan_alone_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, without="causal_conv1d")
    with FakeTensorMode(), torch.device("cuda"):
        SelectiveSSM(32)(torch.empty(2, 1, 32))
    assert len(sys.modules["mamba_ssm.ops.selective_scan_interface"].CALLS) == 1
    assert "causal_conv1d" not in sys.modules


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("error", ["ImportError('undefined symbol')", "RuntimeError('no driver')"])
def test_a_broken_package_is_named_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    install(tmp_path, monkeypatch)
    (tmp_path / "mamba_ssm/__init__.py").write_text(f"raise {error}\n")
    with FakeTensorMode(), torch.device("cuda"):
        assert SelectiveSSM(32)(torch.empty(2, 1, 32)).shape == (2, 1, 32)
        SelectiveSSM(32)(torch.empty(2, 1, 32))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "mamba_ssm.ops.selective_scan_interface is installed and cannot be used" in caplog.text


@pytest.mark.usefixtures("fresh")
def test_what_is_not_installed_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    if kernels_for(torch.device("cuda")) is not None:
        pytest.skip("mamba-ssm is installed here")
    assert [record.levelname for record in caplog.records if record.levelname == "WARNING"] == []


def documented_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,  # noqa: N803  the package's names
    B: Tensor,  # noqa: N803
    C: Tensor,  # noqa: N803
    D: Tensor,  # noqa: N803
    z: Tensor,
    delta_bias: Tensor,
    delta_softplus: bool,
) -> Tensor:
    """`selective_scan_fn` as mamba-ssm documents it, one number at a time."""
    assert delta_softplus
    out = torch.zeros_like(u)
    for i in range(u.shape[0]):
        for channel in range(u.shape[1]):
            state = torch.zeros(A.shape[1])
            for place in range(u.shape[2]):
                step = F.softplus(delta[i, channel, place] + delta_bias[channel])
                state = torch.exp(step * A[channel]) * state + step * B[i, :, place] * u[i, channel, place]
                y = state @ C[i, :, place] + D[channel] * u[i, channel, place]
                out[i, channel, place] = y * F.silu(z[i, channel, place])
    return out


def documented_convolution(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    assert activation == "silu"
    taps = weight.shape[1]
    padded = F.pad(x, (taps - 1, 0))
    parts = [padded[..., place : place + taps] for place in range(x.shape[-1])]
    return F.silu(torch.stack([(part * weight).sum(-1) for part in parts], dim=-1) + bias[:, None])


@torch.inference_mode()
def test_a_kernel_that_computes_what_is_documented_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = SelectiveSSM(16), torch.randn(2, 5, 16)
    plain = layer(x)
    kernels = Kernels(documented_scan, documented_convolution)
    monkeypatch.setattr(mamba, "kernels_for", lambda device: kernels)
    torch.testing.assert_close(layer(x), plain, atol=1e-6, rtol=1e-5)


@pytest.mark.usefixtures("fresh")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernels run on a GPU, there is none")
@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_kernels_agree_with_the_scan(length: int) -> None:
    if kernels_for(torch.device("cuda")) is None:
        pytest.skip("mamba-ssm is not installed (extra `mamba`)")
    torch.manual_seed(0)
    layer, x = SelectiveSSM(256), torch.randn(8, length, 256)
    upstream = torch.randn(8, length, 256)
    (layer(x) * upstream).sum().backward()
    expected = {name: parameter.grad for name, parameter in layer.named_parameters()}
    plain = layer(x).detach()
    layer.zero_grad()
    layer.cuda()
    found = layer(x.cuda())
    (found * upstream.cuda()).sum().backward()
    torch.testing.assert_close(found.cpu(), plain, atol=1e-4, rtol=1e-3)
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad.cpu(), expected[name], atol=1e-3, rtol=1e-3)
