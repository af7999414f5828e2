"""Functions that make files in worker processes; see workers.Worker.call."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from embconvert.derive import derive
from embconvert.derive.settings import DeriveSettings
from embconvert.fidelity.texts import batches, calibration_items, calibration_texts
from embconvert.fidelity.tokenization import TextTokenizer, tokenize
from embconvert.models.choices import OptimizationLevel, Precision
from embconvert.models.forms import FileForm, most_tokens
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.pair_template import InputRules
from embconvert.models.recipes import QuantizeOptions
from embconvert.models.values import DerivedModel, OnnxArtifact, OptimizedModel, QuantizedModel
from embconvert.processes.metering import Meter, metered
from embconvert.processes.worker import Reporter
from embconvert.quantize import quantize
from embconvert.quantize.settings import CalibrationInputs, Feed, QuantizeSettings
from embconvert.rewrite.optimizer import Optimizer, optimize

# Calibration determines ranges; longer texts take much longer and do not change them.
_CALIBRATION_TOKENS = 128


def optimize_graph(
    _: Reporter,
    artifact: OnnxArtifact,
    path: Path,
    *,
    level: OptimizationLevel,
    optimizer: Optimizer,
    skip_shape_inference: bool,
    work: Path,
    keep_weights_apart: bool,
    replaced: tuple[str, ...],
) -> tuple[OptimizedModel, Meter]:
    with metered() as meter:
        optimized = optimize(
            artifact,
            path,
            level=level,
            optimizer=optimizer,
            skip_shape_inference=skip_shape_inference,
            work=work,
            keep_weights_apart=keep_weights_apart,
            replaced=replaced,
        )
    return optimized, meter


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What calibration reads.

    Attributes:
        dataset: A text file; None for the built-in texts.
        folder: Folder with the tokenizer.
        input_rules: How inputs are read, if not as tokenizer.json alone says.
        prompts: Prompts that the texts are shared out among; see Prompts.distinct.
    """

    dataset: Path | None
    folder: Path
    kind: Kind
    input_rules: InputRules | None = None
    prompts: tuple[str, ...] = ()


def quantize_graph(
    reporter: Reporter,
    artifact: OnnxArtifact,
    path: Path,
    *,
    precision: Precision,
    options: QuantizeOptions,
    calibration: Calibration,
    work: Path,
    replaced: tuple[str, ...],
) -> tuple[QuantizedModel, Meter]:
    feeds = _feeds(reporter, calibration)
    settings = QuantizeSettings(
        options=options, calibration=feeds, work=work, warn=reporter.warn, replaced=replaced
    )
    with metered() as meter:
        quantized = quantize(artifact, path, precision=precision, settings=settings)
    return quantized, meter


def _feeds(reporter: Reporter, calibration: Calibration) -> CalibrationInputs:
    def feeds(inputs: list[str], tokens: int | None = None) -> Iterator[Feed]:
        texts = calibration_texts(calibration.dataset)
        reading = KINDS[calibration.kind].reading
        items = calibration_items(texts, reading, calibration.prompts)
        rules = calibration.input_rules
        tokenized = tokenize(calibration.folder, items, most=_CALIBRATION_TOKENS, rules=rules)
        if tokens is not None:
            tokenized = tokenized.sample(tokens)
        for group in batches(tokenized.lengths, texts=16):
            yield tokenized.batch(group, inputs)
            reporter.advance(len(group))

    return feeds


def derive_file(
    reporter: Reporter,
    artifact: OnnxArtifact,
    path: Path,
    *,
    form: FileForm,
    level: OptimizationLevel,
    precision: Precision,
    calibration: Calibration,
    work: Path,
) -> tuple[DerivedModel, Meter]:
    """Derives a file of another form from a graph."""
    folder = calibration.folder
    settings = DeriveSettings(
        form=form,
        level=level,
        precision=precision,
        calibration=_feeds(reporter, calibration),
        work=work,
        folder=folder,
    )
    with metered() as meter:
        derived = derive(artifact, path, settings)
    for remark in derived.remarks:
        reporter.warn(remark)
    if most_tokens(derived.artifact.forms) is not None:
        derived = replace(derived, padding=TextTokenizer(folder).padding.record)
    return derived, meter
