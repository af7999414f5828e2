"""Compares ONNX files with sentence-transformers on the verification texts.

A process of its own, since the benchmark's must stay small. Arguments: the model's folder, then
the files. Prints a JSON list: for each file the cosines, one for each text.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embconvert.fidelity.texts import verification_texts

_OUTPUT = "sentence_embedding"


def main(model_folder: str, *files: str) -> None:
    """Prints the cosines of the files."""
    from sentence_transformers import SentenceTransformer

    texts = verification_texts().texts
    model = SentenceTransformer(model_folder, device="cpu", local_files_only=True)
    # One text at a time: in a batch, a dynamically quantized graph's answer to a text depends on
    # the others.
    reference = model.encode(list(texts), batch_size=1, show_progress_bar=False)
    features = [{n: np.asarray(t) for n, t in model.preprocess([x]).items()} for x in texts]
    print(json.dumps([_cosines(reference, _embed(file, features)).tolist() for file in files]))


def _embed(file: str, features: Sequence[Mapping[str, NDArray[Any]]]) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    rows = [session.run([_OUTPUT], {n: f[n] for n in names})[0][0] for f in features]
    return np.stack(rows)


def _cosines(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    left, right = left.astype(np.float64), right.astype(np.float64)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    found: NDArray[Any] = (left * right).sum(axis=1) / norms
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
