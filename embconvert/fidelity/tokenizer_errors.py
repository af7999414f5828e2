"""What goes wrong in the tokenizers library, as an error of the file that it was given."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from embconvert.errors import EmbconvertError, ExportError, SourceError

_HINT = (
    "download the model again; if that does not help, load its tokenizer with transformers on a "
    "machine that may break, and save it again"
)


@contextlib.contextmanager
def tokenizer_errors(doing: str, file: str = "tokenizer.json") -> Iterator[None]:
    """Turns whatever a tokenizer raises into a SourceError; for worker processes.

    Args:
        doing: What it cannot do, as "cannot read a text".
        file: Its file, or its files.

    Raises:
        ExportError: There is not enough memory.
        SourceError: Anything else was raised.
    """
    try:
        with without_panic_messages():
            yield
    except EmbconvertError:
        raise
    except MemoryError as error:
        raise ExportError(
            f"there is not enough memory: {file} {doing}",
            "convert it on a machine with more memory, or raise the container's limit",
        ) from error
    except Exception as error:
        raise broken_tokenizer(doing, error, file) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise broken_tokenizer(doing, error, file) from None


def is_panic(error: BaseException) -> bool:
    """Whether it is a panic in Rust: a class that cannot be imported, and is no Exception."""
    return type(error).__name__ == "PanicException"


def broken_tokenizer(doing: str, error: BaseException, file: str = "tokenizer.json") -> SourceError:
    """Returns the error of a tokenizer that cannot do something."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return SourceError(f"{file} {doing}: {said}", _HINT)


def check_range(
    texts: Sequence[Mapping[str, Sequence[int]]], limits: Mapping[str, int | None]
) -> None:
    """Refuses ids that the model has no row for.

    Args:
        texts: For each text its inputs, by name.
        limits: For each input the rows of its table; None when it is not known.

    Raises:
        SourceError: A text has such an id.
    """
    for name, rows in limits.items():
        largest = max((max(text[name]) for text in texts if len(text.get(name, ()))), default=-1)
        if rows is not None and largest >= rows:
            raise SourceError(
                f"tokenizer.json gives a text {name} up to {largest}, and the model's table has "
                f"{rows} rows",
                "the tokenizer is of another model, or damaged; download the model again",
            )


@contextlib.contextmanager
def without_panic_messages() -> Iterator[None]:
    """Keeps from stderr what Rust prints of a panic, with a stack of its own functions.

    --debug lets it through.
    """
    if os.environ.get("EMBCONVERT_DEBUG"):
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
