"""Which device the encoder runs on."""

import torch

from app.errors import ConfigurationError
from models.device import chosen_device
from models.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """The device of a setting: "auto" takes a GPU where there is one.

    Raises:
        ConfigurationError: the name is no device, or this machine does not have it.
    """
    try:
        return torch.device(chosen_device(name))
    except DeviceError as error:
        raise ConfigurationError(f"DESCRY_DEVICE: {error}") from error
