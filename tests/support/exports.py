"""Exports of models from the zoo, compared with torch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embconvert import hub
from embconvert.console import Console
from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import Command, Inputs, Overrides
from embconvert.models.kinds import Kind
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder
from embconvert.source.kind import settle_kind
from embconvert.source.kinds import class_for
from embconvert.source.private_copy import make_private_copy
from embconvert.source.torch_model import SourceModel
from support import zoo

# (batch, tokens, most padding): none is the shape of the trace; one row alone, no padding, nearly
# all padding, multiples of longformer's window and others.
SHAPES = [(1, 5, 0), (3, 23, 4), (2, 41, 9), (5, 64, 30), (1, 64, 0), (4, 16, 15)]


def load(
    model: Path, kind: Kind = Kind.EMBEDDING, warn: Callable[[str], None] = lambda _: None
) -> SourceModel:
    resolved = replace(resolve_folder(model, model_id="test"), kind=kind)
    return class_for(kind, static=resolved.static is not None).load(
        resolved,
        make_private_copy(resolved, model.with_name(f"{model.name}-copy")),
        device="cpu",
        overrides=Overrides(),
        trust_remote_code=False,
        warn=warn,
    )


def load_adapted(model: Path, copy: Path, *adapters: AdapterChoice) -> SourceModel:
    """Loads a model with adapters.

    Args:
        copy: Where its private copy is made.
    """
    request = Request(command=Command.EXPORT, model_id=str(model), adapter=adapters)
    found = hub.resolve(request, Console(quiet=True, debug=False))
    resolved = settle_kind(request, found)
    return class_for(resolved.kind, static=False).load(
        resolved,
        make_private_copy(resolved, copy),
        device="cpu",
        overrides=Overrides(),
        trust_remote_code=False,
        warn=lambda _: None,
    )


def export(
    source: SourceModel,
    path: Path,
    *,
    opset: int = 17,
    exporter: str = "trace",
    inputs: Inputs | None = None,
    keep_weights_apart: bool = False,
) -> Path:
    from embconvert.export.exporter import Exporter, trace
    from embconvert.graph.onnx_file import write_model

    model = trace(source, opset=opset, exporter=Exporter(exporter), inputs=inputs)
    artifact = write_model(model, path, keep_weights_apart=keep_weights_apart)
    assert artifact.opset == opset
    return artifact.path


def assert_same_as_torch(
    model: Path, graph: Path, shapes: Sequence[tuple[int, int, int]] = SHAPES
) -> None:
    """Runs both on random tokens of every shape, padded on either side."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(graph))
    outputs = [(o.name, len(o.shape), o.type) for o in session.get_outputs()]
    assert outputs == [
        ("last_hidden_state", 3, "tensor(float)"),
        ("sentence_embedding", 2, "tensor(float)"),
    ]
    source = load(model)
    traced = source.traced_module()
    random = np.random.default_rng(0)
    for batch, tokens, padding in shapes:
        for left in (False, True):
            feed = random_feed(random, batch, tokens, padding, left=left)
            with torch.no_grad():
                theirs = traced(*(torch.tensor(feed[name]) for name in source.sample_features()))
            ours = session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})
            real = feed["attention_mask"][:, :, None]
            where = f"{graph.name}, {batch}x{tokens}, {'left' if left else 'right'} padding"
            np.testing.assert_allclose(
                ours[0] * real, theirs[0].numpy() * real, atol=2e-4, err_msg=where
            )
            np.testing.assert_allclose(ours[1], theirs[1].numpy(), atol=2e-4, err_msg=where)


def random_feed(
    random: np.random.Generator, batch: int, tokens: int, padding: int, *, left: bool
) -> dict[str, np.ndarray]:
    ids = random.integers(5, zoo.VOCAB_SIZE, (batch, tokens))
    mask = np.ones_like(ids)
    for row in range(1, batch):  # the first row has no padding, as the longest of a batch
        pads = int(random.integers(0, padding + 1))
        where = slice(0, pads) if left else slice(tokens - pads, tokens)
        mask[row, where] = 0
        ids[row, where] = zoo.PAD_ID
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
