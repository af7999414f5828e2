"""How published files are run, whatever their form.

A form whose files are run otherwise than an ONNX graph of any batch has a module here, named after
its kind, with its HOW.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from embconvert.errors import SourceError, reason_of
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.given import check_given
from embconvert.graph.onnx_file import external_data_files
from embconvert.graph.runtime import OnnxSession, open_session, session_options
from embconvert.models.forms import FileForm, is_onnx
from embconvert.models.values import OnnxArtifact

#: A file's outputs by name; the first axis of each is that of the texts.
OutputArrays = Mapping[str, Any]


class Session(Protocol):
    """A file that is open in its runtime."""

    @property
    def inputs(self) -> Sequence[str]:
        """The names of its inputs."""

    def run(self, feed: Mapping[str, Any]) -> OutputArrays:
        """Computes all outputs; any exception means that it failed."""


#: Opens a file; a number of threads of None is the usual one. Any exception means that it failed.
Open = Callable[[OnnxArtifact, int | None], Session]


@dataclass(frozen=True, kw_only=True)
class How:
    """How files of a kind are run; None is as for an ONNX graph of any batch.

    Attributes:
        as_read: Returns texts as a file of a form gets them.
        run: Runs some of these texts, by their indices.
        problem: Returns why a file that may be untrusted must not be opened; None if it may be.
    """

    open: Open | None = None
    as_read: Callable[[TokenizedTexts, FileForm], TokenizedTexts] | None = None
    run: Callable[[Session, TokenizedTexts, Sequence[int], FileForm], OutputArrays] | None = None
    problem: Callable[[Path], str | None] | None = None


def _open_onnx(artifact: OnnxArtifact, threads: int | None) -> Session:
    options = session_options()
    if threads is not None:
        options.intra_op_num_threads = threads
    return OnnxSession(open_session(artifact.path, options))


def open_file(artifact: OnnxArtifact, threads: int | None = None) -> Session:
    """Opens a file in its runtime, with the usual threads or others; raises ValueError."""
    opened: Open = _open_onnx
    for form in artifact.forms:
        opened = how_of(form).open or opened
    try:
        return opened(artifact, threads)
    except MemoryError:
        raise
    except Exception as error:
        runtime = artifact.forms[-1].rules.runtime if artifact.forms else "ONNX Runtime"
        raise ValueError(
            f"{runtime} cannot load {artifact.path.name}: {reason_of(error)}"
        ) from error


class FileRunner:
    """Opens a published file and runs batches of texts.

    `texts` become those that the file gets; its outputs are those of these. `threads` are for one
    batch; None are the usual ones. Raises ValueError if the file does not load.
    """

    def __init__(
        self, artifact: OnnxArtifact, texts: TokenizedTexts, threads: int | None = None
    ) -> None:
        self.texts = texts
        self._run: tuple[Callable[..., OutputArrays], FileForm] | None = None
        for form in artifact.forms:
            how = how_of(form)
            if how.as_read is not None:
                self.texts = how.as_read(self.texts, form)
            if how.run is not None:
                self._run = how.run, form
        self._session = open_file(artifact, threads)

    def outputs(self, indices: Sequence[int]) -> OutputArrays:
        """Runs some of the texts."""
        if self._run is None:
            return self._session.run(self.texts.batch(indices, self._session.inputs))
        run, form = self._run
        return run(self._session, self.texts, indices, form)


def how_of(form: FileForm) -> How:
    """Returns how files of a form are run."""
    how = getattr(importlib.import_module(f"{__name__}.{form.kind}"), "HOW", None)
    assert isinstance(how, How)
    return how


def check_untrusted(path: Path, forms: Sequence[FileForm]) -> None:
    """Checks a file that may be untrusted, before it is opened.

    Raises:
        SourceError: It must not be opened, or is damaged.
        UnsupportedModelError: It is an ONNX graph with unsupported features.
    """
    if is_onnx(forms):
        check_given(path)
    elif problem := untrusted_problem(path, forms):
        raise SourceError(problem, "convert the model again")


def weight_files_of(path: Path, forms: Sequence[FileForm]) -> tuple[str, ...]:
    """Returns the names of the files in a file's folder from which its weights are read.

    Raises ValueError or OSError if an ONNX graph cannot be read.
    """
    if is_onnx(forms):
        return external_data_files(path)
    ending = forms[-1].rules.weights
    return () if ending is None else (path.with_suffix(ending).name,)


def untrusted_problem(path: Path, forms: Sequence[FileForm]) -> str | None:
    """Returns why a file that is no ONNX graph must not be opened; None if it may be."""
    checks = (how_of(form).problem for form in forms)
    return next((found for check in checks if check and (found := check(path))), None)
