"""Turns errors of the tokenizers library into errors about its file."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from embconvert.errors import MORE_MEMORY, EmbconvertError, ExportError, SourceError, reason_of

_HINT = (
    "download the model again; if that does not help, load its tokenizer with transformers on an "
    "isolated machine and save it again"
)


@contextlib.contextmanager
def tokenizer_errors(doing: str, file: str = "tokenizer.json") -> Iterator[None]:
    """Turns any error of a tokenizer into a SourceError; for worker processes.

    `doing` is the failure, such as "cannot read a text". Raises ExportError if there is not enough
    memory.
    """
    try:
        with without_panic_messages():
            yield
    except EmbconvertError:
        raise
    except MemoryError as error:
        raise ExportError(f"there is not enough memory: {file} {doing}", MORE_MEMORY) from error
    except Exception as error:
        raise broken_tokenizer(doing, error, file) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise broken_tokenizer(doing, error, file) from None


def is_panic(error: BaseException) -> bool:
    """Whether it is a Rust panic, whose class cannot be imported or caught as Exception."""
    return type(error).__name__ == "PanicException"


def broken_tokenizer(doing: str, error: BaseException, file: str = "tokenizer.json") -> SourceError:
    return SourceError(f"{file} {doing}: {reason_of(error)}", _HINT)


def check_range(
    texts: Sequence[Mapping[str, Sequence[int]]], limits: Mapping[str, int | None]
) -> None:
    """Raises SourceError for ids beyond the model's tables (`limits`, None if unknown)."""
    for name, rows in limits.items():
        largest = max((max(text[name]) for text in texts if len(text.get(name, ()))), default=-1)
        if rows is not None and largest >= rows:
            raise SourceError(
                f"tokenizer.json gives {name} up to {largest}, but the model's table has {rows} "
                "rows",
                "the tokenizer is damaged or belongs to another model; download the model again",
            )


@contextlib.contextmanager
def without_panic_messages() -> Iterator[None]:
    """Suppresses the messages and stacks that Rust panics write to stderr.

    They are shown with --debug.
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
