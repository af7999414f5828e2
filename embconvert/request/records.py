"""What a user asks for: one record a command, parsed and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from embconvert.models.choices import (
    CalibrationMethod,
    Command,
    Layout,
    MaxSize,
    OptimizationLevel,
    Output,
    Overrides,
    PoolingMode,
    Precision,
    QuantFormat,
    Recipe,
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one command line asks for, parsed and checked.

    Attributes:
        command: The verb.
        model_id: A hub id (`org/name`) or a local folder.
        output_parent_dir: The folder that holds one folder a model.
        revision: Branch, tag or commit on the hub; None means the default branch.
        task: One of kinds.TASKS; None means what the source is.
        opset: The ONNX operator set of the exported graph.
        device: The torch device that traces the model.
        skip_validation: Do not compare with the reference; the manifest says so.
        no_float32: Write quantized files only; the graphs that they are made of keep no weights.
        max_graph_seconds: How long work on one graph may take; None means by its size, and some
            time for each text.
        full_validation: Compare a large model on all texts, too.
        trust_remote_code: Run Python code that comes with the model.
        optimize: The level of the optimized graph.
        quantize: The precisions to make.
        auto: Search for the best precision instead.
        max_size: Of the precision that a search chooses.
        min_speedup: Likewise, over the exported float32 graph.
        per_channel: One weight scale a channel rather than one a tensor.
        reduce_range: 7-bit weights.
        recipes: What is on; None means each precision's default.
        table_bits: Of the token table of Q8 and Q4; None means the precision's own.
        calibration_method: Of QInt8Static.
        quant_format: Likewise.
        min_onnxruntime: The oldest release, major and minor, that must run every file.
        calibration_dataset: UTF-8 text file, one text a line; None means the built-in texts.
        skip_shape_inference: Do not run symbolic shape inference.
        pooling: Overrides the model's own; None keeps it.
        normalize: End in a Normalize module, whether or not the model has one.
        dimensions: Cut embeddings after so many components and normalize them; None keeps all.
        force_dimensions: Cut also embeddings of a model that does not announce that it may be done.
        output: What the graphs give.
        layout: How the published folder looks.
        min_cosine: Floor of the mean cosine; None means each precision's default.
        model_path: The ONNX file to work on; None means what `export` left.
        cache_dir: The hub cache; None means huggingface_hub's default.
        offline: Open no connection.
        dry_run: Print the plan only.
        json: Print the manifest instead of the folder's path.
        quiet: No progress and no messages but warnings and errors.
        debug: Add tracebacks and the libraries' own warnings.
    """

    command: Command
    model_id: str
    output_parent_dir: Path = Path("models")
    revision: str | None = None
    task: str | None = None
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
    per_channel: bool = True
    reduce_range: bool = True
    recipes: tuple[Recipe, ...] | None = None
    table_bits: int | None = None
    calibration_method: CalibrationMethod = CalibrationMethod.MINMAX
    quant_format: QuantFormat = QuantFormat.QDQ
    min_onnxruntime: tuple[int, int] | None = None
    calibration_dataset: Path | None = None
    skip_shape_inference: bool = False
    pooling: PoolingMode | None = None
    normalize: bool = False
    dimensions: int | None = None
    force_dimensions: bool = False
    output: Output = Output.BOTH
    layout: Layout = Layout.HUB
    min_cosine: float | None = None
    model_path: Path | None = None
    cache_dir: Path | None = None
    offline: bool = False
    dry_run: bool = False
    json: bool = False
    quiet: bool = False
    debug: bool = False

    @property
    def overrides(self) -> Overrides:
        """What it changes of the model."""
        return Overrides(pooling=self.pooling, normalize=self.normalize, dimensions=self.dimensions)


@dataclass(frozen=True, kw_only=True)
class VersionRequest:
    """What `embconvert version` asks for.

    Attributes:
        json: As JSON, with the commit and every package.
        debug: Add tracebacks.
    """

    json: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of equal parts of a list.

    Attributes:
        index: Which, from 0.
        count: Of how many.
    """

    index: int
    count: int

    def __str__(self) -> str:
        """As `--shard` takes it, counted from 1."""
        return f"{self.index + 1}/{self.count}"


#: The value of `--shard` that leaves it to the environment.
AUTO_SHARD: Final = "auto"


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What `embconvert batch` asks for.

    Attributes:
        file: The list of models.
        shard: The part to do; None means all, AUTO_SHARD what the environment says.
        shards: How many parts there are, for AUTO_SHARD and list_json.
        list_json: Print the parts only.
        fail_fast: Stop at the first failure.
        remove_downloads: Remove what was converted from the hub cache.
        output_parent_dir: For models that don't say it themselves; None leaves it to the list.
        cache_dir: Likewise.
        offline: Open no connection.
        dry_run: Print what would be done only.
        json: Print a summary as JSON instead of the folders' paths.
        quiet: No progress and no messages but warnings and errors.
        debug: Add tracebacks and the libraries' own warnings.
    """

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
    """What `embconvert report` asks for.

    Attributes:
        folder: A published folder.
        quiet: No messages but warnings and errors.
        debug: Add tracebacks.
    """

    folder: Path
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """What `embconvert compare` asks for.

    Attributes:
        folders: Published folders, two or more.
        output: The page to write.
        debug: Add tracebacks.
    """

    folders: tuple[Path, ...]
    output: Path = Path("compare.html")
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class PushRequest:
    """What `embconvert push` asks for.

    Attributes:
        folder: A published folder.
        repo_id: The hub's repository, `org/name`.
        private: Nobody else may see the repository that is made.
        revision: The branch; None means the main one.
        create_pr: Open a pull request instead of writing to the branch.
        message: Of the commit; None means a usual one.
        dry_run: Check the folder and print what would be uploaded.
        quiet: No progress and no messages but warnings and errors.
        debug: Add tracebacks and the libraries' own warnings.
    """

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
    """What `embconvert verify` asks for.

    Attributes:
        folder: A published folder.
        against: The source, a hub id or a local folder; None compares with no source.
        min_cosine: Floor of the mean cosine; None means what the manifest says, less a little.
        trust_remote_code: Run Python code that comes with the source.
        max_graph_seconds: As of Request.
        cache_dir: The hub cache; None means huggingface_hub's default.
        offline: Open no connection.
        json: Print all figures as JSON.
        quiet: No progress and no messages but warnings and errors.
        debug: Add tracebacks and the libraries' own warnings.
    """

    folder: Path
    against: str | None = None
    min_cosine: float | None = None
    trust_remote_code: bool = False
    max_graph_seconds: int | None = None
    cache_dir: Path | None = None
    offline: bool = False
    json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a command ended that did its work.

    Attributes:
        text: For stdout.
        exit_code: Not 0 when part of the work failed and the text tells of the rest.
    """

    text: str
    exit_code: int = 0
