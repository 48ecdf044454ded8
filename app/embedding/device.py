"""Which device the encoder runs on."""

import torch

from app.errors import ConfigurationError


def resolve_device(name: str) -> torch.device:
    """The device of a setting: "auto" takes a GPU where there is one.

    Raises:
        ConfigurationError: the name is no device, or this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"DESCRY_DEVICE={name!r} is no device; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"DESCRY_DEVICE={name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"DESCRY_DEVICE={name!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
