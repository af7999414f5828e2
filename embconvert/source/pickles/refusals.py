"""The errors for pickles with anything but tensors, and for damaged files."""

from embconvert.errors import SourceError

_RESAVE = (
    "if you trust the model, load it with its own library where it may run code, and save it with "
    "save_pretrained(folder, safe_serialization=True); then convert that folder"
)


def refused(file: str, what: str) -> SourceError:
    """Returns the error for a pickle with anything but tensors; `what` is a predicate."""
    return SourceError(f"{file} {what}; only tensors are read from a pickle", _RESAVE)


def corrupt(file: str, what: str) -> SourceError:
    """Returns the error for a file that torch.save() cannot have written."""
    return SourceError(f"{file} is truncated or corrupt: {what}", "download the model again")
