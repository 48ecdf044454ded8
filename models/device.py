"""Which device an encoder computes on."""

from models.errors import DeviceError


def chosen_device(name: str) -> str:
    """The device that was asked for: auto takes a GPU where there is one.

    Raises:
        DeviceError: it is none, or not of this machine.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise DeviceError(f"{name!r} is no device that can be used; take auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(f"{name!r} was asked for, and this machine has {count} CUDA devices")
    return name
