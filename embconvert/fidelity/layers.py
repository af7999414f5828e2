"""Where a graph loses its accuracy: its hidden states beside those of the exported graph.

Optimizers and quantizers keep the names of the tensors between layers, and torch's tracing
exporter puts the module's path in them ("encoder/layer.3/output/..."). So the last hidden state of
each layer of the exported graph is found in the others by name, and compared on a few texts.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embconvert.fidelity.figures import FloatArray, LayerCosine, cosines
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.runtime import plain_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.graph.value_types import ValueType, value_types
from embconvert.models.values import OnnxArtifact

#: The hidden states after each layer, (tokens, hidden) float32, by the tensor's name.
HiddenStates = Mapping[str, FloatArray]

#: Texts of usual length; they show where accuracy goes, other texts lose it in the same layers.
LAYER_TEXTS = 8
_MAX_TOKENS = 64
#: A module's place in a list of modules: the path of the list, and the number.
_PLACE = re.compile(r"(?<=\.)(\d+)(?=/)")
#: The list of sentence-transformers' modules, which every tensor's path begins with.
_MODULES = re.compile(r"^/source/source\.\d+/")


def batch_for_layers(workload: Workload, lengths: Sequence[int]) -> int:
    """Returns the index of the batch of whose first texts the hidden states are compared."""
    longest = [max(lengths[i] for i in group) for group in workload.similar]
    usual = [n for n, tokens in enumerate(longest) if tokens <= _MAX_TOKENS]
    return max(usual, key=longest.__getitem__, default=longest.index(min(longest)))


def compare_layers(theirs: HiddenStates, ours: HiddenStates) -> tuple[LayerCosine, ...]:
    """Compares the hidden states of the same texts.

    Args:
        theirs: Of the exported graph.
        ours: Of one made of it.

    Returns:
        One for each layer that both have, the first first.
    """
    found = []
    for number, (*_, name) in group_layers(list(theirs)).items():
        if name in ours and ours[name].shape == theirs[name].shape:
            cosine = round(float(cosines(theirs[name], ours[name]).mean()), 9)
            found.append(LayerCosine(layer=number, cosine=cosine))
    return tuple(found)


def layer_ends(proto: Any, types: Mapping[str, ValueType]) -> list[str]:
    """Returns the names of the last hidden state of each layer, none when names don't tell layers.

    Args:
        proto: An onnx.ModelProto.
        types: Of its values.
    """
    layers = group_layers([name for node in proto.graph.node for name in node.output if name])
    last = (
        [name for name in names if name in types and types[name].axes == 3][-1:]
        for names in layers.values()
    )
    return [name for names in last for name in names]


def group_layers(names: Sequence[str]) -> dict[int, list[str]]:
    """Returns the tensors of each layer, by the layer's number.

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
    return dict(sorted(layers.items()))


def hidden_states(
    artifact: OnnxArtifact, texts: TokenizedTexts, names: Sequence[str] | None = None
) -> dict[str, FloatArray]:
    """Runs a graph for its hidden states.

    Args:
        artifact: The graph.
        texts: A batch.
        names: Of the tensors; those that the graph doesn't have are left out. None means those
            after each layer.

    Raises:
        ValueError: It does not run.
    """
    proto, weights = hollow_out(read_model(artifact.path))
    types = value_types(proto, weights)
    names = layer_ends(proto, types) if names is None else present(proto, names)
    if not names:
        return {}
    graph = PiecewiseGraph(
        proto, weights, artifact.path.parent, options=plain_options, wanted=names, types=types
    )
    feed = texts.batch(range(len(texts.lengths)), {*graph.inputs, "attention_mask"})
    found: dict[str, FloatArray] = {}
    try:
        for _, values, _ in graph.pieces([feed]):
            found |= of_tokens(values, feed["attention_mask"])
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{artifact.path.name} does not give its layers: {reason}") from error
    return found


def present(proto: Any, names: Sequence[str]) -> list[str]:
    """Returns those names that are of values of a graph."""
    made = {name for node in proto.graph.node for name in node.output}
    return [name for name in names if name in made]


def of_tokens(values: Mapping[str, Any], mask: Any) -> dict[str, FloatArray]:
    """Returns the vectors of the first texts' tokens, (tokens, hidden) float32, by name.

    Args:
        values: Of a batch; what has no vector for each token is left out.
        mask: Its attention mask, (texts, longest).
    """
    few = mask[:LAYER_TEXTS].astype(bool)
    return {
        name: value[:LAYER_TEXTS][few].astype(np.float32)
        for name, value in values.items()
        if value.ndim == 3 and value.shape[:2] == mask.shape
    }
