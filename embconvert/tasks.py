"""What runs in worker processes; see workers.Worker.call."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.config import OptimizationLevel, Output, Overrides, Precision, QuantizeOptions
from embconvert.export import Exporter, export, trace
from embconvert.fidelity.embedding import WorkloadRun, run_graph
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.layers import HiddenStates, hidden_states
from embconvert.fidelity.texts import Item, batches, calibration_items, calibration_texts
from embconvert.fidelity.tokenization import TokenizedTexts, tokenize
from embconvert.fidelity.workload import Workload
from embconvert.folder.consumer_files import save_missing_files, save_tokenizer
from embconvert.graph.onnx_file import weight_files, write_model
from embconvert.kinds import KINDS, Kind
from embconvert.late_interaction import LateInteraction
from embconvert.manifest import ModelRecord
from embconvert.model import (
    ExportedModel,
    OnnxArtifact,
    OptimizedModel,
    QuantizedModel,
    ResolvedModel,
)
from embconvert.optimize import Optimizer, optimize
from embconvert.processes.metering import Meter, metered
from embconvert.processes.workers import Reporter
from embconvert.quantize import quantize
from embconvert.quantize.settings import Feed, QuantizeSettings
from embconvert.source.by_kind import class_for
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
    """

    model: ModelRecord
    modules: tuple[str, ...]
    max_seq_length: int | None


def load_source(
    reporter: Reporter,
    resolved: ResolvedModel,
    folder: Path,
    *,
    device: str,
    overrides: Overrides,
    trust_remote_code: bool,
) -> SourceFacts:
    """Loads the source model and adds the files that it lacks to the staged folder."""
    source = class_for(resolved.kind).load(
        resolved,
        device=device,
        overrides=overrides,
        trust_remote_code=trust_remote_code,
        warn=reporter.warn,
    )
    save_missing_files(source, folder)
    _loaded[:] = [source]
    return SourceFacts(
        model=source.record, modules=source.modules, max_seq_length=source.max_seq_length
    )


def source_tokens(reporter: Reporter, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
    """Returns what the source reads of each text."""
    del reporter
    return _loaded[0].tokens(texts)


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
