"""Puts the tokenizer before a graph, so that it reads texts: for databases, C, Go and phones."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.derive.settings import DeriveSettings
from embconvert.derive.tokenizer.checking import check_tokens, tokenizer_model
from embconvert.derive.tokenizer.nodes import OPSETS
from embconvert.derive.tokenizer.text_graph import FILE, TextGraph, text_graph
from embconvert.errors import DeriveError
from embconvert.graph.onnx_file import read_model, write_model
from embconvert.models.forms import TEXT_INPUT, TEXT_OUTPUT
from embconvert.models.values import EXTERNAL_DATA_THRESHOLD_BYTES, DerivedModel, OnnxArtifact

if TYPE_CHECKING:
    import onnx_ir as ir

_OUTPUT = "sentence_embedding"
_OLDEST_OPSET = 13
# A graph that embconvert exported has none of these problems.
_OWN_GRAPH = "omit --model_path, to use the exported graph; or omit --tokenizer in_graph"


def derive(source: OnnxArtifact, path: Path, settings: DeriveSettings) -> DerivedModel:
    """Writes a graph that reads texts; raises DeriveError if its tokenizer has no operators."""
    folder = settings.folder
    model = read_model(source.path)
    made = text_graph(folder, TEXT_INPUT, [str(value.name) for value in model.graph.inputs])
    ties = _compared(made, folder, settings.work)
    _join(model, made)
    artifact = write_model(model, path, external_data_threshold_bytes=EXTERNAL_DATA_THRESHOLD_BYTES)
    if artifact.external_data is not None:
        raise DeriveError(
            f"{path.name} would have more than 2 GB, the most that one file can have",
            "choose a smaller precision, such as --quantize QInt8; or omit --tokenizer in_graph",
        )
    remarks = (
        (
            f"{path.name}: of equally probable splits, its tokenizer takes another one than "
            f"tokenizer.json for {ties} of 10,000 unusual texts",
        )
        if ties
        else ()
    )
    return DerivedModel(artifact=artifact, remarks=remarks)


def _compared(made: TextGraph, folder: Path, work: Path) -> int:
    """Compares tokens, once for all files of a run; returns the number of ties."""
    content = b"".join(node.SerializeToString(deterministic=True) for node in made.nodes)
    digest = hashlib.sha256((folder / FILE).read_bytes() + content).hexdigest()
    done = work / f"tokens-compared-{digest}"
    if not done.exists():
        done.write_text(str(check_tokens(made, folder)))
    return int(done.read_text())


def _join(model: "ir.Model", made: TextGraph) -> None:
    """Makes a graph read texts instead of tokens, and give only the embedding."""
    import onnx
    import onnx_ir as ir

    graph = model.graph
    embedding = next((value for value in graph.outputs if value.name == _OUTPUT), None)
    if embedding is None:
        raise DeriveError(
            f"--tokenizer in_graph needs a graph with the output {_OUTPUT}",
            "run: embconvert export with --output both or --output sentence_embedding; or omit "
            "--tokenizer in_graph",
        )
    opset = model.opset_imports.get("", 0)
    if opset < _OLDEST_OPSET:
        raise DeriveError(
            f"--tokenizer in_graph needs a graph of opset {_OLDEST_OPSET} or newer, not {opset}",
            _OWN_GRAPH,
        )
    for name in (TEXT_INPUT, TEXT_OUTPUT):
        _refuse_name(graph, name)
    tokenizer = ir.from_proto(onnx.ModelProto.FromString(tokenizer_model(made))).graph
    nodes, texts, tokens = list(tokenizer), tokenizer.inputs[0], list(tokenizer.outputs)
    for part in (tokenizer.inputs, tokenizer.outputs):
        part.clear()
    tokenizer.remove(nodes)
    graph.insert_before(graph[0], nodes)
    for value, found in zip(graph.inputs, tokens, strict=True):
        if value.dtype != ir.DataType.INT64:
            raise DeriveError(
                f"--tokenizer in_graph: the input {value.name} is {value.dtype}, not int64",
                _OWN_GRAPH,
            )
        found.name = f"text.{value.name}"
        ir.convenience.replace_all_uses_with(value, found)
    if embedding.shape is not None:
        texts.shape = ir.Shape([embedding.shape[0]])
    graph.inputs[:] = [texts]
    graph.outputs[:] = [embedding]
    embedding.name = TEXT_OUTPUT
    model.opset_imports.update({domain: n for domain, n in OPSETS.items() if domain})


def _refuse_name(graph: "ir.Graph", name: str) -> None:
    """Refuses a graph that has another value of this name."""
    names = {value.name for node in graph.all_nodes() for value in node.outputs}
    if name in names | set(graph.initializers):
        raise DeriveError(
            f"--tokenizer in_graph: the graph has a value with the name {name}", _OWN_GRAPH
        )
