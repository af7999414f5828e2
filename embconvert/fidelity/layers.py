"""Where a graph loses its accuracy: its hidden states beside those of the exported graph.

Optimizers and quantizers keep the names of the tensors between layers, and torch's tracing
exporter puts the module's path in them ("encoder/layer.3/output/..."). So the last tensor of each
layer that two graphs share is found by name, made an output of both, and compared on a few texts.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embconvert.fidelity.figures import FloatArray, LayerCosine, cosines
from embconvert.fidelity.texts import batches
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
    baseline: OnnxArtifact,
    candidate: OnnxArtifact,
    texts: TokenizedTexts,
    known: Mapping[str, FloatArray],
) -> tuple[tuple[LayerCosine, ...], dict[str, FloatArray]]:
    """Compares the hidden states after each layer.

    Args:
        baseline: The exported graph.
        candidate: A graph made of it.
        texts: The verification texts; a few of them are used.
        known: What an earlier call returned as the second value, for the same baseline and texts.

    Returns:
        One for each layer, the first first, none when the graphs' names don't tell layers; and the
        baseline's hidden states that were compared, (tokens, hidden) float32, by their names.

    Raises:
        ValueError: A graph does not run.
    """
    names = [_tensors(artifact) for artifact in (baseline, candidate)]
    shared = set(names[1])
    layers = group_layers([name for name in names[0] if name in shared])
    chosen = texts.subset(_choose(texts.lengths))
    if all(known.keys() & set(tensors) for tensors in layers.values()):
        theirs = dict(known)
    else:
        wanted = [name for tensors in layers.values() for name in tensors]
        theirs = _hidden_states(baseline, wanted, chosen)
    # The last of a layer counts.
    last = {n: [t for t in tensors if t in theirs][-1:] for n, tensors in layers.items()}
    compared = [name for tensors in last.values() for name in tensors]
    ours = _hidden_states(candidate, compared, chosen)
    cosine = {
        number: round(float(cosines(theirs[name], ours[name]).mean()), 9)
        for number, tensors in last.items()
        for name in tensors
        if name in ours and ours[name].shape == theirs[name].shape
    }
    found = tuple(LayerCosine(layer=number, cosine=cosine[number]) for number in sorted(cosine))
    return found, {name: theirs[name] for name in compared}


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


def _hidden_states(
    artifact: OnnxArtifact, names: Sequence[str], texts: TokenizedTexts
) -> dict[str, FloatArray]:
    """Returns the vectors of all tokens, (tokens, hidden) float32, by the tensor's name.

    What has no vector for each token is left out.
    """
    if not names:
        return {}
    proto, weights = hollow_out(read_model(artifact.path))
    graph = PiecewiseGraph(
        proto, weights, artifact.path.parent, options=_plain_options, wanted=names
    )
    groups = batches(texts.lengths)
    masks = [texts.batch(g, ("attention_mask",))["attention_mask"].astype(bool) for g in groups]
    found: dict[str, list[FloatArray]] = {}
    try:
        for index, values, _ in graph.pieces([texts.batch(g, graph.inputs) for g in groups]):
            mask = masks[index]
            for name, value in values.items():
                if value.ndim == 3 and value.shape[:2] == mask.shape:
                    found.setdefault(name, []).append(value[mask].astype(np.float32))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{artifact.path.name} does not give its layers: {reason}") from error
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _plain_options() -> Any:
    """Nothing is fused over the tensors that are asked for, and nothing is packed for one run."""
    import onnxruntime

    options = session_options(**NO_SECOND_COPY)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
