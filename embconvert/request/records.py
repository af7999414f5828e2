"""What a user asks for: one record per command, parsed and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from embconvert.models.adapters import AdapterChoice
from embconvert.models.choices import (
    Command,
    Inputs,
    Layout,
    MaxSize,
    Operators,
    OptimizationLevel,
    Output,
    OutputPrecision,
    Overrides,
    PoolingMode,
    Precision,
    Ranges,
)
from embconvert.models.forms import FileForm, FormKind, TokenizerPlace
from embconvert.models.recipes import CalibrationMethod, QuantFormat, Recipe
from embconvert.models.shapes import BENCH_SHAPES, Shape
from embconvert.overriding import override


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request of a conversion; `request.options` describes what users ask for.

    None is the default that is named there. `pins` are commits of other hub models by id, which an
    earlier run used; `output_ranges` those of the components, which are determined otherwise.
    """

    command: Command
    model_id: str
    output_parent_dir: Path = Path("models")
    revision: str | None = None
    task: str | None = None
    route: str | None = None
    reranker_template: str | None = None
    adapter: tuple[AdapterChoice, ...] = ()
    pins: tuple[tuple[str, str], ...] = ()
    opset: int = 17
    device: str = "cpu"
    skip_validation: bool = False
    no_float32: bool = False
    full_validation: bool = False
    max_graph_seconds: int | None = None
    trust_remote_code: bool = False
    optimize: OptimizationLevel = OptimizationLevel.BASIC
    quantize: tuple[Precision, ...] = ()
    auto: bool = False
    max_size: MaxSize | None = None
    min_speedup: float | None = None
    evaluate: Path | None = None
    max_loss: float = 0.5
    per_channel: bool = True
    reduce_range: bool = True
    recipes: tuple[Recipe, ...] | None = None
    table_bits: int | None = None
    calibration_method: CalibrationMethod = CalibrationMethod.MINMAX
    quant_format: QuantFormat = QuantFormat.QDQ
    min_onnxruntime: tuple[int, int] | None = None
    operators: Operators = Operators.ANY
    calibration_dataset: Path | None = None
    skip_shape_inference: bool = False
    pooling: PoolingMode | None = None
    normalize: bool = False
    dimensions: int | None = None
    force_dimensions: bool = False
    output: Output = Output.BOTH
    inputs: Inputs | None = None
    output_precision: OutputPrecision = OutputPrecision.FLOAT32
    output_ranges: Ranges | None = None
    layout: Layout = Layout.HUB
    shape: tuple[Shape, ...] = ()
    format: tuple[FormKind, ...] = ()
    tokenizer: TokenizerPlace = TokenizerPlace.SEPARATE
    min_cosine: float | None = None
    min_neighbours: float | None = None
    model_path: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    dry_run: bool = False
    json: bool = False
    quiet: bool = False
    debug: bool = False

    @property
    def forms(self) -> tuple[tuple[FileForm, ...], ...]:
        """The forms of further files; each group is derived from the files of the one before."""
        first = [FileForm(kind=FormKind.SHAPE, shape=shape) for shape in self.shape]
        if self.tokenizer is TokenizerPlace.IN_GRAPH:
            first.append(FileForm(kind=FormKind.TEXT))
        return tuple(first), tuple(FileForm(kind=kind) for kind in self.format)

    @property
    def overrides(self) -> Overrides:
        return Overrides(
            pooling=self.pooling,
            normalize=self.normalize,
            dimensions=self.dimensions,
            output=self.output,
            output_precision=self.output_precision,
            output_ranges=self.output_ranges,
        )


@dataclass(frozen=True, kw_only=True)
class VersionRequest:
    json: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    shell: str
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of `count` equal parts of a list; `index` counts from 0."""

    index: int
    count: int

    @override
    def __str__(self) -> str:
        """The value of `--shard`, which counts from 1."""
        return f"{self.index + 1}/{self.count}"


#: The value of `--shard` that takes the part from the environment.
AUTO_SHARD: Final = "auto"


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """The request of `embconvert batch`; AUTO_SHARD takes the part from the environment."""

    file: Path
    shard: Shard | Literal["auto"] | None = None
    shards: int | None = None
    list_json: bool = False
    fail_fast: bool = False
    remove_downloads: bool = False
    output_parent_dir: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    dry_run: bool = False
    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    folder: Path
    try_page: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class ListRequest:
    folder: Path
    json: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    folders: tuple[Path, ...]
    output: Path = Path("compare.html")
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class PushRequest:
    """The request of `embconvert push`; only a repository that is created becomes private."""

    folder: Path
    repo_id: str
    private: bool = False
    revision: str | None = None
    create_pr: bool = False
    message: str | None = None
    dry_run: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """The request of `embconvert verify`; no adapter means those in the manifest."""

    folder: Path
    against: str | None = None
    adapter: tuple[AdapterChoice, ...] = ()
    min_cosine: float | None = None
    trust_remote_code: bool = False
    max_graph_seconds: int | None = None
    cache_dir: Path | None = None
    offline: bool = False
    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """The request of `embconvert bench`; None among the threads is all CPUs."""

    folder: Path
    shapes: tuple[Shape, ...] = BENCH_SHAPES
    threads: tuple[int | None, ...] = (None,)
    providers: tuple[str, ...] | None = None
    seconds: float = 30
    output: Path = Path("bench.html")
    max_graph_seconds: int | None = None
    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """The request of `embconvert evaluate`; no files means all, no adapter the manifest's."""

    folders: tuple[Path, ...]
    data: Path
    files: tuple[str, ...] = ()
    against: str | None = None
    adapter: tuple[AdapterChoice, ...] = ()
    trust_remote_code: bool = False
    output: Path | None = None
    max_graph_seconds: int | None = None
    cache_dir: Path | None = None
    offline: bool = False
    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class DiffRequest:
    """The request of `embconvert diff`, of published folders or graphs in them."""

    first: Path
    second: Path
    texts: Path | None = None
    limit: int = 20
    max_graph_seconds: int | None = None
    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a finished command prints to stdout; a code other than 0 if a part failed."""

    text: str
    exit_code: int = 0
