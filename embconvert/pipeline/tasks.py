"""Functions that run in worker processes; see workers.Worker.call."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from embconvert.export.exporter import Exporter, trace
from embconvert.fidelity.embedding import WorkloadRun, run_graph
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.layers import HiddenStates, hidden_states
from embconvert.fidelity.lookups import rows_are_kept
from embconvert.fidelity.runners import check_untrusted, open_file, weight_files_of
from embconvert.fidelity.texts import Item, calibration_items, calibration_texts
from embconvert.fidelity.tokenization import INPUTS, TokenizedTexts, tokenize
from embconvert.fidelity.workload import Workload
from embconvert.folder.consumer_files import save_missing_files
from embconvert.folder.tokenizer_files import publish_tokenizer
from embconvert.graph.given import load_problem, read_given, run_problem
from embconvert.graph.onnx_file import write_model
from embconvert.manifest import ModelRecord
from embconvert.manifest.building import LoadedSource
from embconvert.models.choices import Inputs, Output, Overrides, Precision
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.output_rules import OutputRules
from embconvert.models.pair_template import InputRules
from embconvert.models.values import ExportedModel, OnnxArtifact, ResolvedModel
from embconvert.processes.metering import Meter, metered
from embconvert.processes.no_network import NoNetworkFilterError, forbid_network
from embconvert.processes.worker import Reporter
from embconvert.source.kinds import class_for
from embconvert.source.model_errors import unexpected_model_errors
from embconvert.source.private_copy import make_private_copy
from embconvert.source.torch_model import SourceModel

# Maximum number of texts for the ranges of embeddings; sentence-transformers asks for 100 or more.
_RANGE_TEXTS = 1000

#: The source model that load_source() loaded in this process.
_loaded: list[SourceModel] = []
#: Its graph, traced by trace_source().
_traced: list[Any] = []


def load_source(
    reporter: Reporter,
    resolved: ResolvedModel,
    folder: Path,
    *,
    device: str,
    overrides: Overrides,
    trust_remote_code: bool,
    may_connect: bool,
) -> LoadedSource:
    """Loads the source, adds missing files to the staged folder and corrects the tokenizer's."""
    if not may_connect:
        _forbid_network(reporter, device)
    with unexpected_model_errors(resolved.architecture.model_type):
        source = class_for(resolved.kind, static=resolved.static is not None).load(
            resolved,
            make_private_copy(resolved, folder / ".work" / "source"),
            device=device,
            overrides=overrides,
            trust_remote_code=trust_remote_code,
            warn=reporter.warn,
        )
        save_missing_files(source, folder)
        corrections = publish_tokenizer(source, resolved, folder)
        _loaded[:] = [source]
        return LoadedSource(
            model=source.record,
            modules=source.modules,
            max_seq_length=source.max_seq_length,
            prompts=source.prompts,
            rows=source.rows,
            corrections=corrections,
        )


def calibrate_source(
    _: Reporter, dataset: Path | None, prompts: tuple[str, ...], *, layer_by_layer: bool
) -> ModelRecord:
    """Determines what the loaded source's outputs need of calibration texts; returns its record."""
    source = _loaded[0]
    texts = calibration_texts(dataset)
    items = calibration_items(texts, KINDS[source.kind].reading, prompts)
    chosen = items[:: -(-len(items) // _RANGE_TEXTS)]
    source.calibrate(chosen, layer_by_layer=layer_by_layer)
    return source.record


def _forbid_network(reporter: Reporter, device: str) -> None:
    # Without this, the library would retry for minutes, although the kernel refuses every
    # connection.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if "huggingface_hub.constants" in sys.modules:
        sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    try:
        forbid_network(local_sockets=device != "cpu")
    except NoNetworkFilterError as error:
        reporter.warn(
            f"this system cannot block network access of a process ({error}); the libraries run in "
            "their offline mode only"
        )


def source_tokens(_: Reporter, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
    """Returns the tokens of each text, as the source reads them."""
    return _loaded[0].checked_tokens(texts)


def tokenize_texts(
    _: Reporter, folder: Path, texts: Sequence[Item], *, rules: InputRules | None, rows: int | None
) -> TokenizedTexts:
    """Tokenizes texts with the tokenizer files of a folder; see tokenize."""
    return tokenize(folder, texts, rules=rules, rows=rows)


def trace_source(
    _: Reporter,
    path: Path,
    *,
    opset: int,
    exporter: Exporter,
    output: Output,
    inputs: Inputs | None = None,
) -> tuple[OnnxArtifact, Meter]:
    """Starts to export the loaded source: traces its graph and writes it without weights.

    write_traced() does the rest.
    """
    with metered() as meter:
        traced = trace(_loaded[0], opset=opset, exporter=exporter, output=output, inputs=inputs)
        _traced[:] = [traced]
        artifact = write_model(_traced[0], path, keep_weights_apart=True)
    return artifact, meter


def write_traced(
    _: Reporter, path: Path, *, keep_weights_apart: bool
) -> tuple[ExportedModel, Meter]:
    """Writes the graph that trace_source() traced, with weights."""
    with metered() as meter:
        artifact = write_model(_traced[0], path, keep_weights_apart=keep_weights_apart)
    return ExportedModel(artifact=artifact), meter


def embed_with_source(
    reporter: Reporter,
    texts: Sequence[Item],
    groups: Sequence[Sequence[int]],
    *,
    layer_by_layer: bool,
) -> list[Embeddings]:
    """Embeds batches of texts with the loaded source; the result is the reference."""
    advance = in_steps(reporter, sum(map(len, groups)))
    batches_of_texts = [[texts[i] for i in group] for group in groups]
    return _loaded[0].encode(batches_of_texts, advance, layer_by_layer=layer_by_layer)


def source_rows(_: Reporter, tokens: Sequence[int]) -> FloatArray | None:
    """Returns rows of the loaded source's token table, (tokens, width) float32; None without."""
    table = _loaded[0].word_table
    return None if table is None else table[list(tokens)].detach().float().cpu().numpy()


def compare_rows(
    _: Reporter,
    artifact: OnnxArtifact,
    tokens: Sequence[int],
    theirs: FloatArray,
    precision: Precision,
) -> bool:
    """Whether a graph looks up the source's rows; see lookups.rows_are_kept."""
    return rows_are_kept(artifact, tokens, theirs, precision)


def files_of_weights(_: Reporter, path: Path, forms: tuple[FileForm, ...]) -> tuple[str, ...] | str:
    """Returns the files in a graph's folder with its weights, or the problem in words."""
    try:
        return weight_files_of(path, forms)
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
    rules: OutputRules | None = None,
    hidden: Sequence[str] | None = (),
    runs_rest: bool = False,
) -> WorkloadRun | str:
    """Embeds a workload with a graph; returns the problem in words if that fails."""
    advance = in_steps(reporter, workload.size)
    try:
        return run_graph(
            artifact,
            texts,
            workload,
            advance,
            layer_by_layer=layer_by_layer,
            kind=kind,
            rules=rules,
            hidden=hidden,
            runs_rest=runs_rest,
        )
    except ValueError as error:
        return str(error)


def in_steps(reporter: Reporter, total: int) -> Callable[[float], None]:
    """Returns a function that reports shares of the work as numbers of texts, or other steps."""
    done = 0.0

    def advance(share: float) -> None:
        nonlocal done
        before, done = done, done + share * total
        reporter.advance(round(done) - round(before))

    return advance


def hidden_states_of(
    _: Reporter, artifact: OnnxArtifact, texts: TokenizedTexts, names: Sequence[str] | None
) -> HiddenStates | str:
    """Returns a graph's hidden states, or the problem in words; see layers.hidden_states."""
    try:
        return hidden_states(artifact, texts, names)
    except (ValueError, OSError) as error:
        return str(error)


def read_given_graph(_: Reporter, path: Path, work: Path) -> OnnxArtifact:
    """Reads and loads an untrusted graph; see graph/given.py."""
    return read_given(path, work)


def check_given_graph(_: Reporter, path: Path, forms: tuple[FileForm, ...]) -> None:
    """Checks an untrusted graph, or file of another form, before it is run."""
    check_untrusted(path, forms)


def try_graph(_: Reporter, artifact: OnnxArtifact) -> str | None:
    """Runs a graph once on minimal input; returns the problem in words if that fails."""
    return run_problem(artifact, INPUTS)


def load_graph(_: Reporter, artifact: OnnxArtifact) -> str | None:
    """Loads a graph of a staging folder; returns the problem in words if that fails."""
    if any(form.kind is not FormKind.SHAPE for form in artifact.forms):
        try:
            open_file(artifact)
        except ValueError as error:
            return str(error)
        return None
    folder = artifact.path.parent
    problem = load_problem(artifact.path, artifact.total_size_bytes, folder)
    return None if problem is None else problem.message
