"""Runs graphs that read texts, with the operators of onnxruntime-extensions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embconvert.fidelity.runners import How, OutputArrays, Session
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.extensions import with_extensions
from embconvert.graph.runtime import open_session, session_options
from embconvert.models.forms import TEXT_INPUT, TEXT_OUTPUT, FileForm
from embconvert.models.values import OnnxArtifact


class _TextSession:
    """A graph that reads texts, open in ONNX Runtime."""

    def __init__(self, artifact: OnnxArtifact, threads: int | None) -> None:
        options = with_extensions(session_options())
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session = open_session(artifact.path, options)
        self.inputs = [value.name for value in self._session.get_inputs()]

    def run(self, feed: Mapping[str, Any]) -> OutputArrays:
        return {"sentence_embedding": self._session.run([TEXT_OUTPUT], feed)[0]}


def _run(
    session: Session, texts: TokenizedTexts, indices: Sequence[int], form: FileForm
) -> OutputArrays:
    del form
    return session.run({TEXT_INPUT: np.array([texts.texts[i] for i in indices], dtype=object)})


HOW = How(open=_TextSession, run=_run)
