"""Which graphs run when a quantized one is compared, and how often."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from embconvert.console import Console
from embconvert.fidelity.embedding import WorkloadRun
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.layers import HiddenStates
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.models.kinds import Kind
from embconvert.pipeline.tasks import embed_with_graph, hidden_states_of
from embconvert.pipeline.verifier import Verifier

VECTORS = np.random.default_rng(0).standard_normal((6, 8), dtype=np.float32)
TEXTS = TokenizedTexts(
    ids=tuple(np.arange(1, 7) for _ in range(4)),
    type_ids=tuple(np.zeros(6, np.int64) for _ in range(4)),
    pad_id=0,
    pad_left=False,
)
STATES: HiddenStates = {f"/layer.{n}/Add_output_0": VECTORS for n in range(2)}
EXPORTED, FLOAT16, Q8 = (
    SimpleNamespace(sha256=name, path=Path(f"{name}.onnx"), total_size_bytes=1)
    for name in ("exported", "half", "q8")
)


class Worker:
    """Notes which graphs run: whole or in pieces for their embeddings, or for hidden states."""

    def __init__(self, ran: list[tuple[str, str]], *, in_pieces: bool) -> None:
        self._ran, self._in_pieces = ran, in_pieces

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, task: Callable[..., Any], artifact: Any, *_: Any, **__: Any) -> Any:
        if task is hidden_states_of:
            self._ran.append(("layers", artifact.sha256))
            return STATES
        assert task is embed_with_graph
        self._ran.append(("embeddings", artifact.sha256))
        lossy = 0.0 if artifact is EXPORTED else 0.05
        return WorkloadRun(
            embeddings=Embeddings(sentence=VECTORS + lossy, token_mean=None),
            batch=1.0,
            texts_per_second=1.0,
            hidden=STATES if self._in_pieces else {},
        )


@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_is_known_of_the_exported_graph_is_not_run_again(in_pieces: bool) -> None:
    ran: list[tuple[str, str]] = []
    workers: Any = SimpleNamespace(take=lambda _: Worker(ran, in_pieces=in_pieces))
    source: Any = SimpleNamespace(kind=Kind.EMBEDDING)
    verifier = Verifier(
        source,
        workers,
        Console(quiet=True, debug=False),
        skipped=False,
        layer_by_layer=in_pieces,
        flop_per_token=0.0,
    )
    workload = Workload(similar=((0, 1, 2, 3),), mixed=(0,))
    reference = Embeddings(sentence=VECTORS, token_mean=None)
    verifier._begun = ([f"text {n}" for n in range(6)], TEXTS, workload)
    verifier._reference = reference

    exported: Any = EXPORTED
    assert verifier.verify(exported, "model.onnx").layers == ()
    for artifact in (FLOAT16, Q8):
        candidate: Any = artifact
        figures = verifier.verify(candidate, "graph", exported)
        assert [layer.layer for layer in figures.layers] == [0, 1]
    if in_pieces:  # the hidden states came along
        assert ran == [("embeddings", name) for name in ("exported", "half", "q8")]
    else:
        assert [name for what, name in ran if what == "layers"] == ["exported", "half", "q8"]
