"""Networks whose weights come from a file need no random numbers first: those of a ViT-B/16 take more than a second."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

_RANDOM = frozenset(
    {
        *(torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_),
        *(init.uniform_, init.normal_, init.trunc_normal_, init.orthogonal_),
        *(init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_),
    }
)
"""What weights are filled with; `erfinv_` is a step of a truncated normal distribution."""


class Unfilled(TorchFunctionMode):
    """Within its block tensors are not filled with random numbers, in this thread; they hold whatever was in memory.

    For networks of which every weight is loaded afterwards.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function returns
        """Call a function of PyTorch, or leave it out."""
        given = kwargs or {}
        if func in _RANDOM:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
