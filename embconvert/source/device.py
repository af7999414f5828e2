"""Checks for torch devices."""

from embconvert.errors import UsageError


def check_device(device: str) -> None:
    """Raises UsageError if this machine does not have the torch device."""
    if device == "cpu":
        return
    import torch

    kind, _, index = device.partition(":")
    backend = torch.backends.mps if kind == "mps" else getattr(torch, kind)
    count = 0
    if backend.is_available():
        count = 1 if kind == "mps" else backend.device_count()
    if int(index or 0) >= count:
        devices = f"{count} {kind} device{'' if count == 1 else 's'}"
        last = f" to {kind}:{count - 1}" if count > 1 else ""
        raise UsageError(
            f"--device {device} does not exist: torch finds {devices}",
            "use --device cpu" if not count else f"use --device {kind}:0{last}",
        )
