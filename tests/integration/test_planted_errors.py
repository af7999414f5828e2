"""The verification finds errors that are planted in graphs and tokenizers.

What is planted is what exporters, optimizers and quantizers have done wrong somewhere: a test fails
if a cheaper verification no longer looks where it shows.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper as nh
import pytest

from embconvert.console import Console
from embconvert.errors import FidelityError
from embconvert.export.exporter import Exporter
from embconvert.fidelity.floors import floor_for, shortfall
from embconvert.models.choices import HALF_PRECISIONS, Command, Precision
from embconvert.models.kinds import Kind
from embconvert.models.values import OnnxArtifact
from embconvert.pipeline.reference import Reference, Unsettled, make_reference
from embconvert.pipeline.source_process import SourceProcess
from embconvert.pipeline.verifier import Question, Verifier
from embconvert.processes.worker import finish
from embconvert.processes.workers import Workers
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder
from support import zoo

pytestmark = pytest.mark.integration


#: All texts of such a model would cost too much to run them first, but not too much.
_FLOP_OF_A_SAMPLE = 2e7
ALL_TEXTS = "all texts are run"


@dataclass(frozen=True)
class Bench:
    """A model's exported graph and what it is compared with."""

    source: SourceProcess
    reference: Reference
    sample: Reference
    artifact: OnnxArtifact
    verifier: Verifier
    in_pieces: Verifier
    folder: Path
    make_reference: Callable[..., Reference]

    @property
    def rarest(self) -> int:
        """A token that only one text has, which is not in the sample."""
        tokens, counts = self.reference.tokens, Counter[int]()
        for ids in tokens.ids:
            counts.update(set(ids.tolist()))
        sampled = {i for group in self.sample.workload.similar for i in group}
        seen = {token for i in sampled for token in tokens.ids[i].tolist()}
        return min(token for token, count in counts.items() if count == 1 and token not in seen)

    def problem(
        self, graph: onnx.ModelProto, precision: Precision, reference: Reference | None = None
    ) -> str | None:
        """What the verification finds in a graph; of a sample, also that it is not enough."""
        path = self.folder / "onnx" / "edited.onnx"
        onnx.save(graph, path)
        edited = replace(self.artifact, path=path)
        floor = floor_for(precision, None)
        question = Question(precision=precision, floors=(floor,))
        reference = reference or self.reference
        try:
            verifying = self.verifier.verify(edited, "edited.onnx", reference, question=question)
            return shortfall(finish(verifying), floor)
        except FidelityError as error:
            return error.message
        except Unsettled as why:
            return f"{ALL_TEXTS}: {why}"


@pytest.fixture(scope="module", params=["bert", "mpnet", "qwen3"])
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    scratch = tmp_path_factory.mktemp(request.param)
    pooling = {"qwen3": "lasttoken"}.get(request.param, "mean")
    model = zoo.build_model(request.param, scratch / "model", pooling=pooling)
    folder = scratch / "staged"
    (folder / "onnx").mkdir(parents=True)
    (folder / ".work").mkdir()
    console = Console(quiet=True, debug=False)
    asked = Request(command=Command.EXPORT, model_id=str(model))
    resolved = replace(resolve_folder(model, model_id=str(model)), kind=Kind.EMBEDDING)
    with Workers(console, graph_seconds=None) as workers:
        source = SourceProcess(asked, resolved, folder, workers, console)
        finish(source.load())
        finish(source.trace(folder / ".work" / "traced.onnx", Exporter.TRACE))
        exported, _ = finish(source.write(folder / "onnx" / "model.onnx", keep_weights_apart=False))

        def reference(flop_per_token: float = 0.0) -> Reference:
            made = make_reference(
                source, console, layer_by_layer=False, wide_values=0, flop_per_token=flop_per_token
            )
            return finish(made)

        verifier = Verifier(Kind.EMBEDDING, workers, console, layer_by_layer=False)
        in_pieces = Verifier(Kind.EMBEDDING, workers, console, layer_by_layer=True)
        sample = reference(_FLOP_OF_A_SAMPLE)
        yield Bench(
            source, reference(), sample, exported.artifact, verifier, in_pieces, folder, reference
        )
        source.end()


#: Of the rotary embeddings of qwen3, whose heads have 8 dimensions.
INVERSE_FREQUENCIES = 4
#: Takes a graph, and a token that only one text has.
Plant = Callable[[onnx.ModelProto, int], None]


def _table(graph: onnx.ModelProto, *shape: int) -> onnx.TensorProto:
    """Returns the first weight of a shape."""
    return next(t for t in graph.graph.initializer if tuple(t.dims) == shape)


def _set(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(nh.from_array(np.ascontiguousarray(values), tensor.name))


def _through(graph: onnx.ModelProto, name: str, *nodes: onnx.NodeProto) -> None:
    """Puts nodes behind an input: who read `name` now reads `name_changed`."""
    for node in graph.graph.node:
        for place, value in enumerate(node.input):
            if value == name:
                node.input[place] = f"{name}_changed"
    for place, node in enumerate(nodes):
        graph.graph.node.insert(place, node)


def ignored_mask(graph: onnx.ModelProto, _: int) -> None:
    """Padding is attended to."""
    graph.graph.initializer.append(nh.from_array(np.array(0, np.int64), "nothing"))
    graph.graph.initializer.append(nh.from_array(np.array(1, np.int64), "one"))
    _through(
        graph, "attention_mask",
        onnx.helper.make_node("Mul", ["attention_mask", "nothing"], ["zeros"]),
        onnx.helper.make_node("Add", ["zeros", "one"], ["attention_mask_changed"]),
    )  # fmt: skip


def other_padding_side(graph: onnx.ModelProto, _: int) -> None:
    """The graph takes the padding for being on the other side."""
    for name, values in (("first", [-1]), ("end", [-(1 << 62)]), ("axis", [1]), ("back", [-1])):
        graph.graph.initializer.append(nh.from_array(np.array(values, np.int64), name))
    _through(
        graph, "attention_mask",
        onnx.helper.make_node(
            "Slice", ["attention_mask", "first", "end", "axis", "back"], ["attention_mask_changed"]
        ),
    )  # fmt: skip


def shifted_positions(graph: onnx.ModelProto, _: int) -> None:
    """Positions count from another number, or turn at another speed."""
    for tensor in graph.graph.initializer:
        if "position_embeddings" in tensor.name:
            _set(tensor, np.roll(nh.to_array(tensor), 1, axis=0))
            return
    constants = [
        a.t
        for n in graph.graph.node
        if n.op_type == "Constant"
        for a in n.attribute
        if a.HasField("t")
    ]
    for tensor in (*graph.graph.initializer, *constants):
        values = nh.to_array(tensor)
        is_float = values.dtype == np.float32
        if is_float and values.size == INVERSE_FREQUENCIES and values.flat[0] == 1:
            _set(tensor, values * np.float32(1.25))
            return
    raise AssertionError("the graph has no positions")


def transposed_weight(graph: onnx.ModelProto, _: int) -> None:
    """One square weight of one layer is transposed."""
    weight = _table(graph, zoo.HIDDEN_SIZE, zoo.HIDDEN_SIZE)
    _set(weight, nh.to_array(weight).T)


def one_overflowing_text(graph: onnx.ModelProto, token: int) -> None:
    """A rare token leaves float32's range."""
    words = _table(graph, zoo.VOCAB_SIZE, zoo.HIDDEN_SIZE)
    values = nh.to_array(words).copy()
    values[token] = np.inf
    _set(words, values)


def one_wrong_text(graph: onnx.ModelProto, token: int) -> None:
    """A rare token has the vector of another."""
    words = _table(graph, zoo.VOCAB_SIZE, zoo.HIDDEN_SIZE)
    values = nh.to_array(words).copy()
    values[token] = -values[token] * 4
    _set(words, values)


def embedding_of_the_batch(graph: onnx.ModelProto, _: int) -> None:
    """A text's embedding depends a little on the texts beside it."""
    output = next(o.name for o in graph.graph.output if o.name == "sentence_embedding")
    for node in graph.graph.node:
        for place, value in enumerate(node.output):
            if value == output:
                node.output[place] = "alone"
    graph.graph.initializer.append(nh.from_array(np.array(0.2, np.float32), "a_little"))
    graph.graph.node.extend(
        [
            onnx.helper.make_node("ReduceMean", ["alone"], ["of_all"], axes=[0], keepdims=1),
            onnx.helper.make_node("Mul", ["of_all", "a_little"], ["some_of_all"]),
            onnx.helper.make_node("Add", ["alone", "some_of_all"], [output]),
        ]
    )


def overflow_at(graph: onnx.ModelProto, token: int) -> None:
    """A text with a token leaves the range of its numbers, after the layers."""
    output = "sentence_embedding"
    for node in graph.graph.node:
        for place, value in enumerate(node.output):
            if value == output:
                node.output[place] = "right"
    for name, value in (("token", np.int64(token)), ("huge", np.float32(3e38))):
        graph.graph.initializer.append(nh.from_array(np.array(value), name))
    make = onnx.helper.make_node
    graph.graph.node.extend(
        [
            make("Equal", ["input_ids", "token"], ["is_token"]),
            make("Cast", ["is_token"], ["ones"], to=onnx.TensorProto.FLOAT),
            make("ReduceMax", ["ones"], ["has_token"], axes=[1], keepdims=1),
            make("Mul", ["has_token", "huge"], ["half_of_it"]),
            make("Mul", ["half_of_it", "huge"], ["all_of_it"]),
            make("Add", ["right", "all_of_it"], [output]),
        ]
    )


def _edit_output(graph: onnx.ModelProto, name: str, op: str, **named: Any) -> onnx.ValueInfoProto:
    """Puts an operator behind an output; what else reads the output does not notice."""
    for node in graph.graph.node:
        for values in (node.input, node.output):
            for place, value in enumerate(values):
                if value == name:
                    values[place] = "right"
    others = named.pop("others", [])
    graph.graph.node.append(onnx.helper.make_node(op, ["right", *others], [name], **named))
    return next(output for output in graph.graph.output if output.name == name)


def _times_two(graph: onnx.ModelProto, name: str) -> None:
    graph.graph.initializer.append(nh.from_array(np.array(2, np.float32), "two"))
    _edit_output(graph, name, "Mul", others=["two"])


def lost_normalization(graph: onnx.ModelProto, _: int) -> None:
    """Embeddings are not of length 1."""
    _times_two(graph, "sentence_embedding")


def scaled_token_vectors(graph: onnx.ModelProto, _: int) -> None:
    """Output 0 has another scale."""
    _times_two(graph, "last_hidden_state")


def slightly_scaled_token_vectors(graph: onnx.ModelProto, _: int) -> None:
    """Output 0 has a slightly other scale, which only float32 must not have."""
    graph.graph.initializer.append(nh.from_array(np.array(0.97, np.float32), "factor"))
    _edit_output(graph, "last_hidden_state", "Mul", others=["factor"])


def other_name(graph: onnx.ModelProto, _: int) -> None:
    """The embedding has a name that no program knows."""
    _edit_output(graph, "sentence_embedding", "Identity").name = "right"


def other_type(graph: onnx.ModelProto, _: int) -> None:
    """The embedding is of another type."""
    double = onnx.TensorProto.DOUBLE
    output = _edit_output(graph, "sentence_embedding", "Cast", to=double)
    output.type.tensor_type.elem_type = double


def lost_embedding(graph: onnx.ModelProto, _: int) -> None:
    """Only the token vectors are left."""
    graph.graph.output.remove(_edit_output(graph, "sentence_embedding", "Identity"))


def lost_token_vectors(graph: onnx.ModelProto, _: int) -> None:
    """Output 0 is missing."""
    graph.graph.output.remove(_edit_output(graph, "last_hidden_state", "Identity"))


#: Cosines are the same with these.
OF_OUTPUTS = (
    lost_normalization, scaled_token_vectors, other_name, other_type, lost_embedding,
    lost_token_vectors,
)  # fmt: skip


#: What shows in few texts, or in batches only, cannot be told from the loss of 8 bits.
SUBTLE = (one_wrong_text, embedding_of_the_batch)
COARSE = (
    ignored_mask, other_padding_side, shifted_positions, transposed_weight, one_overflowing_text,
)  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "precision"),
    [
        *((plant, Precision.FLOAT32) for plant in (*COARSE, *SUBTLE)),
        *((plant, Precision.QINT8) for plant in (*COARSE, *OF_OUTPUTS)),
        (slightly_scaled_token_vectors, Precision.FLOAT32),
    ],
)
def test_an_error_in_a_graph_is_found(bench: Bench, plant: Plant, precision: Precision) -> None:
    graph = onnx.load(bench.artifact.path)
    plant(graph, bench.rarest)
    assert bench.problem(graph, precision) is not None


@pytest.mark.parametrize(
    ("plant", "precision"),
    [
        *((plant, Precision.FLOAT32) for plant in (*COARSE, *SUBTLE)),
        *((plant, Precision.QINT8) for plant in (*COARSE, one_wrong_text)),
        (one_overflowing_text, Precision.FLOAT16),
        (slightly_scaled_token_vectors, Precision.FLOAT32),
        *((plant, Precision.FLOAT16) for plant in OF_OUTPUTS),
    ],
)
def test_no_error_passes_a_sample(bench: Bench, plant: Plant, precision: Precision) -> None:
    """It finds the error, or has all texts run."""
    assert bench.sample.workload.texts < bench.reference.workload.texts / 2
    graph = onnx.load(bench.artifact.path)
    plant(graph, bench.rarest)
    found = bench.problem(graph, precision, bench.sample)
    assert found is not None
    # What shows in a single text shows in none of the sample.
    is_rare = plant in (one_overflowing_text, one_wrong_text)
    assert found.startswith(ALL_TEXTS) or not is_rare


def test_nothing_is_found_in_the_graph_itself(bench: Bench) -> None:
    graph = onnx.load(bench.artifact.path)
    assert bench.problem(graph, Precision.FLOAT32) is None
    assert bench.problem(graph, Precision.FLOAT32, bench.sample) is None


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("precision", HALF_PRECISIONS)
def test_an_overflow_in_a_text_beyond_the_sample_is_found_without_its_token(
    bench: Bench, precision: Precision, in_pieces: bool
) -> None:
    """The table is right: a layer makes the value of one token overflow."""
    graph = onnx.load(bench.artifact.path)
    overflow_at(graph, bench.rarest)
    bench = replace(bench, verifier=bench.in_pieces) if in_pieces else bench
    found = bench.problem(graph, precision, bench.sample)
    assert found == f"{ALL_TEXTS}: it has values that are not finite for another text"


@pytest.mark.parametrize("edit", ["truncation", "prompt", "token"])
def test_an_error_in_the_published_tokenizer_is_found(bench: Bench, edit: str) -> None:
    path = bench.folder / "tokenizer.json"
    before = path.read_text()
    settings = json.loads(before)
    if edit == "truncation":
        settings["truncation"]["max_length"] -= 1
    elif edit == "prompt":
        settings["normalizer"] = {"type": "Prepend", "prepend": "a"}
    else:
        words = settings["model"]["vocab"]
        first, second = list(words)[20:22]
        words[first], words[second] = words[second], words[first]
    path.write_text(json.dumps(settings))
    try:
        with pytest.raises(FidelityError, match="other tokens than the source"):
            bench.make_reference()
    finally:
        path.write_text(before)
