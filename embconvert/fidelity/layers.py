"""Loss by layer: compares a graph's hidden states with those of the exported graph.

Optimizers and quantizers keep the names of tensors between layers, and torch's tracing exporter
includes the module's path in them ("encoder/layer.3/output/..."). So each layer's last hidden state
is found by name, and compared on a few texts.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embconvert.errors import reason_of
from embconvert.fidelity.figures import FloatArray, LayerCosine, cosines
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import Workload
from embconvert.graph.hollow import hollow_out
from embconvert.graph.onnx_file import read_model
from embconvert.graph.runtime import plain_options, session_options
from embconvert.graph.segments import PiecewiseGraph
from embconvert.graph.value_types import ValueType, value_types
from embconvert.models.values import OnnxArtifact

#: Hidden states after each layer, (tokens, hidden) float32, by tensor name.
HiddenStates = Mapping[str, FloatArray]

#: Texts of usual length; other texts lose accuracy in the same layers.
LAYER_TEXTS = 8
_MAX_TOKENS = 64
#: A module's index in a list of modules.
_PLACE = re.compile(r"(?<=\.)(\d+)(?=/)")
#: The list of sentence-transformers' modules, with which every tensor's path starts.
_MODULES = re.compile(r"^/source/source\.\d+/")


def batch_for_layers(workload: Workload, lengths: Sequence[int]) -> int:
    """Returns the index of the batch whose first texts are used for the comparison."""
    longest = [max(lengths[i] for i in group) for group in workload.similar]
    usual = [n for n, tokens in enumerate(longest) if tokens <= _MAX_TOKENS]
    return max(usual, key=longest.__getitem__, default=longest.index(min(longest)))


def compare_layers(theirs: HiddenStates, ours: HiddenStates) -> tuple[LayerCosine, ...]:
    """Compares hidden states with the exported graph's; returns the common layers in order."""
    found = []
    for number, (*_, name) in group_layers(list(theirs)).items():
        if name in ours and ours[name].shape == theirs[name].shape:
            cosine = round(float(cosines(theirs[name], ours[name]).mean()), 9)
            found.append(LayerCosine(layer=number, cosine=cosine))
    return tuple(found)


def layer_ends(proto: Any, types: Mapping[str, ValueType]) -> list[str]:
    """Returns each layer's last hidden state in an onnx.ModelProto; none if names have none."""
    layers = group_layers([name for node in proto.graph.node for name in node.output if name])
    last = (
        [name for name in names if name in types and types[name].axes == 3][-1:]
        for names in layers.values()
    )
    return [name for names in last for name in names]


def group_layers(names: Sequence[str]) -> dict[int, list[str]]:
    """Returns the tensors of each layer, by number, from names in the order of computation.

    The layers are the longest list of modules in their paths; among equally long ones, the
    outermost.
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
    """Runs a graph; returns its hidden states of these names, or those after each layer.

    Missing ones are ignored. Raises ValueError if the graph does not run.
    """
    proto, weights = hollow_out(read_model(artifact.path))
    types = value_types(proto, weights)
    names = layer_ends(proto, types) if names is None else present(proto, names)
    if not names:
        return {}
    graph = PiecewiseGraph(
        proto,
        weights,
        artifact.path.parent,
        options=session_options if _needs_optimizations(proto) else plain_options,
        wanted=names,
        types=types,
    )
    feed = texts.batch(range(len(texts.lengths)), {*graph.inputs, "attention_mask"})
    found: dict[str, FloatArray] = {}
    try:
        for _, values in graph.pieces([feed]):
            found |= of_tokens(values, feed["attention_mask"])
    except Exception as error:
        raise ValueError(
            f"the layers of {artifact.path.name} cannot be compared: {reason_of(error)}"
        ) from error
    return found


def _needs_optimizations(proto: Any) -> bool:
    """Whether a graph multiplies by blocks of integers that have scales in half precision.

    For a CPU, ONNX Runtime (1.32) casts such a product to float32 if it stands between operators
    that have no kernel for half precision. Below its highest level of optimization, it then packs
    the weights before it has cast their scales, and gives wrong values without an error.
    """
    import onnx

    half = onnx.TensorProto.DataType.FLOAT16
    halves = {tensor.name for tensor in proto.graph.initializer if tensor.data_type == half}
    return any(
        node.op_type == "MatMulNBits" and not halves.isdisjoint(node.input)
        for node in proto.graph.node
    )


def present(proto: Any, names: Sequence[str]) -> list[str]:
    """Returns the names that a graph has."""
    made = {name for node in proto.graph.node for name in node.output}
    return [name for name in names if name in made]


def of_tokens(values: Mapping[str, Any], mask: Any) -> dict[str, FloatArray]:
    """Returns the token vectors of the first texts, (tokens, hidden) float32, by name.

    Values other than token vectors are ignored; the attention mask is (texts, longest).
    """
    few = mask[:LAYER_TEXTS].astype(bool)
    return {
        name: value[:LAYER_TEXTS][few].astype(np.float32)
        for name, value in values.items()
        if value.ndim == 3 and value.shape[:2] == mask.shape
    }
