"""The evaluations beside a folder's files; no manifest lists them, so conversions keep them."""

from collections.abc import Callable
from pathlib import Path

from embconvert.errors import SourceError
from embconvert.evaluation.records import (
    EVALUATION_FILE,
    EVALUATION_PAGE,
    Evaluation,
    Evaluations,
    as_text,
    parse_evaluations,
)
from embconvert.regular_files import open_regular, replace_file

#: Larger files are refused.
_MAX_BYTES = 1 << 24


def read_evaluations(folder: Path) -> Evaluations:
    """Returns a folder's evaluations, if any; raises SourceError if the file is broken."""
    hint = f"remove it, and run `embconvert evaluate` again: {folder / EVALUATION_FILE}"
    try:
        with open_regular(folder, EVALUATION_FILE, hint=hint) as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Evaluations(evaluations=())
    except OSError as error:
        raise SourceError(f"{folder / EVALUATION_FILE}: {error.strerror}", hint) from error
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError("too large")
        return parse_evaluations(content)
    except ValueError as error:
        problem = str(error).splitlines()[0]
        raise SourceError(f"{folder / EVALUATION_FILE} is broken: {problem}", hint) from error


def refuse_broken_evaluations(folder: Path) -> None:
    """Raises SourceError where a new evaluation could not be added, before it is computed."""
    if folder.is_dir():
        read_evaluations(folder)


def write_evaluation(
    folder: Path, evaluation: Evaluation, page: Callable[[Evaluations], str]
) -> None:
    """Adds an evaluation to those of a folder, in place of an earlier one on the same data.

    Raises:
        SourceError: The file of the earlier ones is broken.
        OSError: The folder cannot be written.
    """
    whole = read_evaluations(folder).with_newer(evaluation)
    replace_file(folder / EVALUATION_PAGE, page(whole).encode("utf-8", "replace"))
    replace_file(folder / EVALUATION_FILE, as_text(whole).encode())
