"""Where a graph loses its accuracy: its hidden states beside those of the exported graph.

Optimizers and quantizers keep the names of the tensors between layers, and torch's tracing
exporter puts the module's path in them ("encoder/layer.3/output/..."). So the last tensor of each
layer that two graphs share is found by name, made an output of both, and compared on a few texts.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from embconvert.fidelity.figures import LayerCosine, cosines
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.runtime import NO_SECOND_COPY, session_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.model import OnnxArtifact

#: Texts of usual length; they show where accuracy goes, other texts lose it in the same layers.
_TEXTS = 8
_MIN_TOKENS, _MAX_TOKENS = 6, 64
#: So many of a layer's last tensors are tried; some are no hidden states.
_TENSORS = 3
#: A module's place in a list of modules: the path of the list, and the number.
_PLACE = re.compile(r"(?<=\.)(\d+)(?=/)")
#: The list of sentence-transformers' modules, which every tensor's path begins with.
_MODULES = re.compile(r"^/source/source\.\d+/")


def layer_cosines(
    baseline: OnnxArtifact, candidate: OnnxArtifact, texts: TokenizedTexts
) -> tuple[LayerCosine, ...]:
    """Compares the hidden states after each layer.

    Args:
        baseline: The exported graph.
        candidate: A graph made of it.
        texts: The verification texts; a few of them are used.

    Returns:
        One for each layer, the first first; none when the graphs' names don't tell layers.

    Raises:
        ValueError: A graph does not run.
    """
    names = [_tensors(artifact) for artifact in (baseline, candidate)]
    shared = set(names[1])
    layers = group_layers([name for name in names[0] if name in shared])
    if not layers:
        return ()
    chosen = _choose(texts.lengths)
    mask = texts.batch(chosen, ("attention_mask",))["attention_mask"].astype(bool)
    layer_of = {name: layer for layer, tensors in layers.items() for name in tensors}
    expected: dict[int, tuple[str, Any]] = {}
    for name, theirs in _run(baseline, list(layer_of), texts, chosen):
        if theirs.ndim == 3 and theirs.shape[:2] == mask.shape:  # the last of a layer counts
            expected[layer_of[name]] = (name, theirs[mask])
    wanted = {name: (layer, theirs) for layer, (name, theirs) in expected.items()}
    cosine = {}
    for name, ours in _run(candidate, list(wanted), texts, chosen):
        layer, theirs = wanted[name]
        if ours.shape[:2] == mask.shape and ours[mask].shape == theirs.shape:
            cosine[layer] = round(float(cosines(theirs, ours[mask]).mean()), 9)
    return tuple(LayerCosine(layer=layer, cosine=cosine[layer]) for layer in sorted(cosine))


def _tensors(artifact: OnnxArtifact) -> list[str]:
    graph = read_model(artifact.path).graph
    return [value.name for node in graph for value in node.outputs if value.name]


def group_layers(names: Sequence[str]) -> dict[int, list[str]]:
    """Returns the last tensors of each layer, by the layer's number.

    Args:
        names: Of a graph's tensors, in the order in which they are computed. The layers are the
            longest list of modules in their paths; of equally long ones the outermost.
    """
    lists: dict[str, dict[int, list[str]]] = {}
    for name in names:
        path = _MODULES.sub("/", name)
        for place in _PLACE.finditer(path):
            members = lists.setdefault(path[: place.start()], {})
            members.setdefault(int(place[1]), []).append(name)
    longest = max(lists, key=lambda path: (len(lists[path]), -path.count("/")), default="")
    layers = lists.get(longest, {})
    if len(layers) < 2:
        return {}
    return {number: tensors[-_TENSORS:] for number, tensors in sorted(layers.items())}


def _choose(lengths: Sequence[int]) -> list[int]:
    """Returns indices of a few texts of usual length, evenly over the lengths."""
    by_length = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    usual = [i for i in by_length if _MIN_TOKENS <= lengths[i] <= _MAX_TOKENS] or by_length[:1]
    step = max(1, len(usual) // _TEXTS)
    return usual[::step][:_TEXTS]


def _run(
    artifact: OnnxArtifact, names: Sequence[str], texts: TokenizedTexts, chosen: Sequence[int]
) -> Iterator[tuple[str, Any]]:
    """Yields tensors of a graph, as float32, in the order in which they are computed."""
    if not names:
        return
    proto, weights = hollow_out(read_model(artifact.path))
    graph = PiecewiseGraph(
        proto, weights, artifact.path.parent, options=_plain_options, wanted=names
    )
    try:
        for _, values, _ in graph.pieces([texts.batch(chosen, graph.inputs)]):
            for name, value in values.items():
                yield name, np.asarray(value, np.float32)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{artifact.path.name} does not give its layers: {reason}") from error


def _plain_options() -> Any:
    """Nothing is fused over the tensors that are asked for, and nothing is packed for one run."""
    import onnxruntime

    options = session_options(**NO_SECOND_COPY)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
