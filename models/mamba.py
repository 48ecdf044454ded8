"""Mamba layers with mamba-ssm's parameters, on any device (methods.md 9; decision 0013).

A. Gu and T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, algorithm 2.
"""

import importlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_log = logging.getLogger(__name__)
_STEPS = (1e-3, 1e-1)
"""Range from which the step sizes dt are drawn at the start, evenly in their logarithm."""
_LEAST_STEP = 1e-4
_KERNEL_TAPS = range(2, 5)
"""Lengths of convolution that causal-conv1d has kernels for."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """mamba-ssm's CUDA functions.

    Attributes:
        scan: `mamba_ssm.ops.selective_scan_interface.selective_scan_fn`.
        convolve: `causal_conv1d.causal_conv1d_fn`; None when that package is not there, mamba-ssm does without.
    """

    scan: Callable[..., Tensor]
    convolve: Callable[..., Tensor] | None


def kernels_for(device: torch.device) -> Kernels | None:
    """What a tensor on `device` is computed with: mamba-ssm's kernels on CUDA where they can be imported, else None.

    The packages are looked for at the first CUDA tensor, once; tensors elsewhere never touch them.
    """
    return _kernels() if device.type == "cuda" else None


class SelectiveSSM(nn.Module):
    """One Mamba mixer, without residual and norm: (B, L, dim) to (B, L, dim), causal along L.

    Names, shapes and initialisation of the parameters are those of `mamba_ssm.Mamba` and of transformers' `MambaMixer`,
    so weights interchange. `A_log` and `D` are marked `_no_weight_decay`.

    Args:
        dim: of input and output.
        state: N, dimensions of a channel's state.
        taps: length of the causal convolution.
        expand: the inside has expand * dim channels.
    """

    def __init__(self, dim: int, *, state: int = 16, taps: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, self.state, self.rank = expand * dim, state, math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, taps, groups=inner, padding=taps - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1, state + 1, dtype=torch.float32).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)
        for parameter in (self.A_log, self.D):
            parameter._no_weight_decay = True  # type: ignore[attr-defined]
        self._draw_steps()

    def _draw_steps(self) -> None:
        low, high = (math.log(end) for end in _STEPS)
        with torch.no_grad():
            nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
            steps = (torch.rand_like(self.dt_proj.bias) * (high - low) + low).exp().clamp(min=_LEAST_STEP)
            self.dt_proj.bias.copy_(steps + (-torch.expm1(-steps)).log())  # softplus's inverse

    def forward(self, x: Tensor) -> Tensor:
        kernels = kernels_for(x.device)
        inside, gate = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        inside = self._convolve(inside, kernels)
        step, b, c = self.x_proj(inside.transpose(1, 2)).split([self.rank, self.state, self.state], dim=-1)
        step = F.linear(step, self.dt_proj.weight).transpose(1, 2)
        parts: tuple[Tensor, ...] = (inside, step, b.transpose(1, 2), c.transpose(1, 2), gate)
        if kernels is not None:  # they want one type and one layout for what depends on the input
            parts = tuple(_dense(part.to(inside.dtype)) for part in parts)
        u, delta, b, c, z = parts
        read = (selective_scan if kernels is None else kernels.scan)(
            u,
            delta,
            -self.A_log.float().exp(),
            b,
            c,
            self.D.float(),
            z=z,
            delta_bias=self.dt_proj.bias.float(),
            delta_softplus=True,
        )
        out: Tensor = self.out_proj(read.transpose(1, 2))
        return out

    def _convolve(self, x: Tensor, kernels: Kernels | None) -> Tensor:
        taps = self.conv1d.kernel_size[0]
        if kernels is None or kernels.convolve is None or taps not in _KERNEL_TAPS:
            return F.silu(self.conv1d(x)[..., : x.shape[-1]])
        # Under autocast x is narrower than the weights.
        weight, bias = self.conv1d.weight.squeeze(1).to(x.dtype), self.conv1d.bias
        assert bias is not None
        return kernels.convolve(x=_dense(x), weight=weight, bias=bias.to(x.dtype), activation="silu")


class MambaStack(nn.Module):
    """Mamba layers one after the other, each with a residual: x + Mamba(x), or x + Mamba(LN(x)) with `norm`.

    (B, L, dim) to (B, L, dim). With `norm` another LayerNorm comes last. No layers and no norm is the identity.
    """

    def __init__(self, dim: int, *, layers: int, norm: bool, state: int = 16, taps: int = 4, expand: int = 2) -> None:
        super().__init__()
        self.mixers = nn.ModuleList(SelectiveSSM(dim, state=state, taps=taps, expand=expand) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) if norm else nn.Identity() for _ in range(layers + 1))

    def forward(self, x: Tensor) -> Tensor:
        for mixer, norm in zip(self.mixers, self.norms[:-1], strict=True):
            x = x + mixer(norm(x))
        out: Tensor = self.norms[-1](x)
        return out


def selective_scan(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    *,
    z: Tensor,
    delta_bias: Tensor,
    delta_softplus: bool,
) -> Tensor:
    """The recurrence in plain torch, step by step; what `selective_scan_fn` computes, with its arguments.

        dt = softplus(delta + bias),  h_l = exp(dt_l A) h_(l-1) + dt_l B_l u_l,  y_l = (C_l h_l + D u_l) silu(z_l)

    Args:
        u, delta, z: (B, D, L) float.
        a: (D, N) float32, negative.
        b, c: (B, N, L) float.
        d, delta_bias: (D,) float32.
        delta_softplus: whether the softplus above is taken.

    Returns:
        (B, D, L) in `u`'s type; computed in float32 at least.
    """
    exact = torch.promote_types(u.dtype, torch.float32)
    wide, gate = u.to(exact), F.silu(z.to(exact))
    step = delta.to(exact) + delta_bias[:, None]
    step = F.softplus(step) if delta_softplus else step
    b, c = b.to(exact), c.to(exact)
    kept = (step[..., None] * a[:, None]).exp()
    added = (step * wide)[..., None] * b.transpose(1, 2)[:, None]
    state = torch.zeros_like(kept[:, :, 0])
    reads = []
    for place in range(u.shape[-1]):
        state = kept[:, :, place] * state + added[:, :, place]
        # Not a matrix product: autocast would round it.
        reads.append((state * c[:, None, :, place]).sum(dim=-1))
    return ((torch.stack(reads, dim=-1) + d[:, None] * wide) * gate).to(u.dtype)


def _dense(x: Tensor) -> Tensor:
    """Contiguous with a last stride of 1; a last dimension of 1 counts as contiguous with any stride."""
    return x.contiguous() if x.stride(-1) == 1 else x.clone(memory_format=torch.contiguous_format)


@cache
def _kernels() -> Kernels | None:
    scan = _imported("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn")
    if scan is None:
        return None
    return Kernels(scan, _imported("causal_conv1d", "causal_conv1d_fn"))


def _imported(module: str, name: str) -> Callable[..., Tensor] | None:
    try:
        found: Callable[..., Tensor] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name == module.split(".")[0]:
            _log.info("%s is not installed: Mamba layers run in plain torch on the GPU too", error.name)
            return None
        _log.warning("%s is installed and lacks %s: Mamba layers run in plain torch", module, error.name)
        return None
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        _log.warning("%s is installed and cannot be used, Mamba layers run in plain torch: %s", module, error)
        return None
    return found
