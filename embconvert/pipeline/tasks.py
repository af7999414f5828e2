"""What runs in worker processes; see workers.Worker.call."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.export.exporter import Exporter, export, trace
from embconvert.fidelity.embedding import WorkloadRun, run_graph
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.layers import HiddenStates, hidden_states
from embconvert.fidelity.texts import Item, batches, calibration_items, calibration_texts
from embconvert.fidelity.tokenization import INPUTS, TokenizedTexts, tokenize
from embconvert.fidelity.workload import Workload
from embconvert.folder.consumer_files import save_missing_files, save_tokenizer
from embconvert.graph.given import check_given, load_problem, read_given, run_problem
from embconvert.graph.onnx_file import weight_files, write_model
from embconvert.manifest import ModelRecord
from embconvert.models.choices import (
    OptimizationLevel,
    Output,
    Overrides,
    Precision,
    QuantizeOptions,
)
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.values import (
    ExportedModel,
    OnnxArtifact,
    OptimizedModel,
    QuantizedModel,
    ResolvedModel,
)
from embconvert.processes.metering import Meter, metered
from embconvert.processes.no_network import NoNetworkFilterError, forbid_network
from embconvert.processes.workers import Reporter
from embconvert.quantize import quantize
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.rewrite.optimizer import Optimizer, optimize
from embconvert.source.by_kind import class_for
from embconvert.source.private_copy import make_private_copy
from embconvert.source.torch_model import SourceModel

# Calibration learns ranges; longer texts show no others and take much longer.
_CALIBRATION_TOKENS = 128

#: The source model of this process, once load_source() has run.
_loaded: list[SourceModel] = []
#: Its graph, once trace_source() has run.
_traced: list[Any] = []


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What only the loaded source model tells.

    Attributes:
        model: What a consumer of this kind of model must know.
        modules: The classes of its modules.
        max_seq_length: Tokens after which it truncates.
        rows: Of its table of token embeddings; None when it has none.
    """

    model: ModelRecord
    modules: tuple[str, ...]
    max_seq_length: int | None
    rows: int | None


def load_source(
    reporter: Reporter,
    resolved: ResolvedModel,
    folder: Path,
    *,
    device: str,
    overrides: Overrides,
    trust_remote_code: bool,
    may_connect: bool,
) -> SourceFacts:
    """Loads the source model and adds the files that it lacks to the staged folder.

    Args:
        reporter: Told of what the user should know.
        resolved: The files.
        folder: The staged folder.
        device: A torch device.
        overrides: What the user changes of the model.
        trust_remote_code: Run Python code that comes with the model.
        may_connect: Whether that code may fetch more from the hub.
    """
    if not may_connect:
        _forbid_network(reporter, device)
    source = class_for(resolved.kind).load(
        resolved,
        make_private_copy(resolved, folder / ".work" / "source"),
        device=device,
        overrides=overrides,
        trust_remote_code=trust_remote_code,
        warn=reporter.warn,
    )
    save_missing_files(source, folder)
    _loaded[:] = [source]
    return SourceFacts(
        model=source.record,
        modules=source.modules,
        max_seq_length=source.max_seq_length,
        rows=source.rows,
    )


def _forbid_network(reporter: Reporter, device: str) -> None:
    # The kernel's no is final; asked beforehand, the library does not try again for minutes.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "huggingface_hub.constants" in sys.modules:
        sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    try:
        forbid_network(local_sockets=device != "cpu")
    except NoNetworkFilterError as error:
        reporter.warn(
            f"this system cannot take the network away from a process ({error}); the libraries are "
            "only asked to open no connection"
        )


def source_tokens(reporter: Reporter, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
    """Returns what the source reads of each text."""
    del reporter
    return _loaded[0].checked_tokens(texts)


def tokenize_texts(
    reporter: Reporter,
    folder: Path,
    texts: Sequence[Item],
    *,
    max_length: int | None,
    late: LateInteraction | None,
    rows: int | None,
) -> TokenizedTexts:
    """Tokenizes texts with the tokenizer files of a folder; see tokenize."""
    del reporter
    return tokenize(folder, texts, max_length=max_length, late=late, rows=rows)


def save_source_tokenizer(reporter: Reporter, folder: Path) -> None:
    """Writes tokenizer.json as transformers uses it."""
    del reporter
    save_tokenizer(_loaded[0], folder)


def export_source(
    reporter: Reporter,
    path: Path,
    *,
    opset: int,
    exporter: Exporter,
    output: Output,
    keep_weights_apart: bool,
) -> tuple[OnnxArtifact, Meter]:
    """Exports the loaded source."""
    del reporter
    with metered() as meter:
        exported = export(
            _loaded[0],
            path,
            opset=opset,
            exporter=exporter,
            output=output,
            keep_weights_apart=keep_weights_apart,
        )
    return exported.artifact, meter


def trace_source(
    reporter: Reporter, path: Path, *, opset: int, exporter: Exporter, output: Output
) -> tuple[OnnxArtifact, Meter]:
    """Begins to export the loaded source: writes its graph, without the weights.

    write_traced() is the rest.
    """
    del reporter
    with metered() as meter:
        _traced[:] = [trace(_loaded[0], opset=opset, exporter=exporter, output=output)]
        artifact = write_model(_traced[0], path, keep_weights_apart=True)
    return artifact, meter


def write_traced(
    reporter: Reporter, path: Path, *, keep_weights_apart: bool
) -> tuple[OnnxArtifact, Meter]:
    """Exports what trace_source() traced."""
    del reporter
    with metered() as meter:
        artifact = write_model(_traced[0], path, keep_weights_apart=keep_weights_apart)
    return artifact, meter


def embed_with_source(
    reporter: Reporter,
    texts: Sequence[Item],
    groups: Sequence[Sequence[int]],
    *,
    layer_by_layer: bool,
) -> list[Embeddings]:
    """Embeds batches of texts with the loaded source: the reference."""
    advance = _in_texts(reporter, sum(map(len, groups)))
    batches_of_texts = [[texts[i] for i in group] for group in groups]
    return _loaded[0].encode(batches_of_texts, advance, layer_by_layer=layer_by_layer)


def files_of_weights(reporter: Reporter, path: Path) -> tuple[str, ...] | str:
    """Returns the files beside a graph that its weights are in; what is wrong, in words, if any."""
    del reporter
    try:
        return weight_files(path)
    except (ValueError, OSError) as error:
        return str(error)


def embed_with_graph(
    reporter: Reporter,
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    workload: Workload,
    *,
    layer_by_layer: bool,
    kind: Kind,
    hidden: Sequence[str] | None = (),
) -> WorkloadRun | str:
    """Embeds a workload with a graph; returns what is wrong, in words, when it can't."""
    advance = _in_texts(reporter, workload.size)
    try:
        return run_graph(
            artifact,
            texts,
            workload,
            advance,
            layer_by_layer=layer_by_layer,
            kind=kind,
            hidden=hidden,
        )
    except ValueError as error:
        return str(error)


def _in_texts(reporter: Reporter, total: int) -> Callable[[float], None]:
    """Returns a function that reports shares of the work as numbers of texts."""
    done = 0.0

    def advance(share: float) -> None:
        nonlocal done
        before, done = done, done + share * total
        reporter.advance(round(done) - round(before))

    return advance


def hidden_states_of(
    reporter: Reporter,
    artifact: OnnxArtifact,
    texts: TokenizedTexts,
    names: Sequence[str] | None,
) -> HiddenStates | str:
    """Returns a graph's hidden states; see layers.hidden_states. What is wrong, if it can't."""
    del reporter
    try:
        return hidden_states(artifact, texts, names)
    except (ValueError, OSError) as error:
        return str(error)


def read_given_graph(reporter: Reporter, path: Path, work: Path) -> OnnxArtifact:
    """Reads and loads a graph of somebody's; see graph/given.py."""
    del reporter
    return read_given(path, work)


def check_given_graph(reporter: Reporter, path: Path) -> None:
    """Checks a graph of somebody's that is going to be run."""
    del reporter
    check_given(path)


def try_graph(reporter: Reporter, artifact: OnnxArtifact) -> str | None:
    """Runs a graph once on next to nothing; returns what is wrong, in words, when it can't."""
    del reporter
    return run_problem(artifact, INPUTS)


def load_graph(reporter: Reporter, artifact: OnnxArtifact) -> str | None:
    """Loads a graph of a staging folder; returns what is wrong, in words, when it doesn't load."""
    del reporter
    folder = artifact.path.parent
    problem = load_problem(artifact.path, artifact.total_size_bytes, folder)
    return None if problem is None else problem.message


def optimize_graph(
    reporter: Reporter,
    artifact: OnnxArtifact,
    path: Path,
    *,
    level: OptimizationLevel,
    optimizer: Optimizer,
    skip_shape_inference: bool,
    work: Path,
    keep_weights_apart: bool,
) -> tuple[OptimizedModel, Meter]:
    """Optimizes an exported graph."""
    del reporter
    with metered() as meter:
        optimized = optimize(
            ExportedModel(artifact=artifact),
            path,
            level=level,
            optimizer=optimizer,
            skip_shape_inference=skip_shape_inference,
            work=work,
            keep_weights_apart=keep_weights_apart,
        )
    return optimized, meter


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where calibration's inputs come from.

    Attributes:
        dataset: A text file; None means the built-in texts.
        folder: Has the tokenizer.
        max_seq_length: Of the model.
        kind: Of the model.
        late_interaction: How it reads queries and documents, where it is of that kind.
    """

    dataset: Path | None
    folder: Path
    max_seq_length: int | None
    kind: Kind
    late_interaction: LateInteraction | None = None


def quantize_graph(
    reporter: Reporter,
    artifact: OnnxArtifact,
    path: Path,
    *,
    level: OptimizationLevel,
    precision: Precision,
    options: QuantizeOptions,
    calibration: Calibration,
    work: Path,
) -> tuple[QuantizedModel, Meter]:
    """Quantizes an exported or optimized graph."""

    def feeds(inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        texts = calibration_texts(calibration.dataset)
        items = calibration_items(texts, KINDS[calibration.kind].reading)
        limit = min(calibration.max_seq_length or _CALIBRATION_TOKENS, _CALIBRATION_TOKENS)
        late = calibration.late_interaction
        tokenized = tokenize(calibration.folder, items, max_length=limit, late=late)
        if tokens is not None:
            tokenized = tokenized.sample(tokens)
        for group in batches(tokenized.lengths, texts=16):
            yield tokenized.batch(group, inputs)
            reporter.advance(len(group))

    source: Any = ExportedModel(artifact=artifact)
    if level is not OptimizationLevel.NONE:
        source = OptimizedModel(artifact=artifact, level=level)
    settings = QuantizeSettings(options=options, calibration=feeds, work=work, warn=reporter.warn)
    with metered() as meter:
        quantized = quantize(source, path, precision=precision, settings=settings)
    return quantized, meter
