"""The manifest's record of the source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen, MinLen

from embconvert.manifest.kinds import ModelRecord
from embconvert.models.choices import Output, OutputPrecision, PoolingMode
from embconvert.models.constraints import Commit, Count, Name, Positive, Record, Sha256, Text
from embconvert.models.corrections import Correction
from embconvert.models.output_rules import OutputRules
from embconvert.models.prompts import NO_PROMPTS, Prompts
from embconvert.models.routes import Route
from embconvert.models.source_records import AdapterRecord, FileRecord, SourceCard
from embconvert.models.values import ResolvedAdapter

Files = Annotated[tuple[FileRecord, ...], MaxLen(10_000)]


@dataclass(frozen=True, kw_only=True)
class OverridesRecord(Record):
    """The user's changes to the model.

    Attributes:
        pooling: --pooling.
        normalize: --normalize.
        dimensions: --dimensions.
        output_precision: --output_precision.
    """

    pooling: PoolingMode | None = None
    normalize: bool = False
    dimensions: Positive | None = None
    output_precision: OutputPrecision = OutputPrecision.FLOAT32


@dataclass(frozen=True, kw_only=True)
class SourceRecord(Record):
    """The source of a folder.

    Attributes:
        model_id: A hub id; of a local folder, `./` and its name.
        revision: The hub's commit; None for a local folder.
        digest: Over the names and contents of all source files.
        model_type: From config.json.
        hidden_size: From config.json; None if it is not there.
        num_heads: From config.json; None if it is not there.
        max_seq_length: Texts are truncated to so many tokens; None if they are not.
        modules: Classes of the sentence-transformers modules.
        left_out: What the model reads besides text, and no graph does.
        prompts: What goes before texts.
        corrections: How its tokenizer's files differ from the published ones.
        model: Properties that depend on the kind of model.
        route: Of an asymmetric model; None for others.
        adapters: Merged with the model, in this order.
        overrides: The user's changes to the model.
        output: Value of --output.
        trust_remote_code: Whether Python code of the source was run.
        card: From the source's model card.
        files: The files that a conversion may read.
    """

    model_id: Text
    revision: Commit | None
    digest: Sha256
    model_type: Name
    hidden_size: Count | None
    num_heads: Count | None
    max_seq_length: Positive | None
    modules: Annotated[tuple[Name, ...], MaxLen(100)]
    left_out: Annotated[tuple[Name, ...], MaxLen(10)] = ()
    prompts: Prompts = NO_PROMPTS
    corrections: Annotated[tuple[Correction, ...], MaxLen(100)] = ()
    model: ModelRecord
    route: Route | None = None
    adapters: Annotated[tuple[AdapterRecord, ...], MaxLen(100)] = ()
    overrides: OverridesRecord
    output: Output
    trust_remote_code: bool
    card: SourceCard
    files: Annotated[Files, MinLen(1)]

    def difference(
        self, files: Iterable[FileRecord], adapters: Sequence[ResolvedAdapter] = ()
    ) -> str | None:
        """Returns, in words, what files and adapters lack to be this source's; None for nothing.

        Files beside its own, such as weights for another library, do not matter.
        """
        ours = [_identity(record) for record in self.adapters]
        if ours != [_identity(adapter.record) for adapter in adapters]:
            names = ", ".join(record.adapter for record in self.adapters)
            return f"its adapters are others than {names}" if names else "it has an adapter"
        found = {file.path: file.sha256 for file in files}
        problems = [
            f"{file.path} is missing" if file.path not in found else f"{file.path} is another"
            for file in self.files
            if found.get(file.path) != file.sha256
        ]
        if not problems:
            return None
        more = f", and {len(problems) - 1} more files differ" if len(problems) > 1 else ""
        return problems[0] + more

    @property
    def given(self) -> AdapterRecord | None:
        """The adapter that was given as the model, and named it as its base; None if none was."""
        return next((record for record in self.adapters if record.is_model), None)

    @property
    def is_static(self) -> bool:
        """Whether it is a table of vectors by token, without a transformer."""
        return "StaticEmbedding" in self.modules

    @property
    def fits_config(self) -> bool:
        """Whether its graphs compute what programs expect of a model with its config.json."""
        return not (self.is_static or self.left_out)

    @property
    def pooling(self) -> tuple[str, ...]:
        """How token vectors are pooled; empty if they are not."""
        return self.model.pooling

    @property
    def dimension(self) -> int | None:
        """Of a vector; None if there is none, or if unknown."""
        return self.model.dimension

    @property
    def output_rules(self) -> OutputRules | None:
        """How the graphs' outputs are read; None if they are float vectors or scores."""
        return self.model.output_rules(self.output)


def _identity(adapter: AdapterRecord) -> tuple[float, tuple[str, ...]]:
    """Returns what decides how an adapter changes a model."""
    return adapter.weight, tuple(sorted(adapter.content))
