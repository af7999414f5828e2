"""The type of a kind's rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from embconvert.models.choices import Layout, Output

#: The transformer's token vectors; an output of most graphs.
TOKENS_OUTPUT = "last_hidden_state"
#: One logit per token and vocabulary entry.
TOKEN_LOGITS = "logits"


class Reading(StrEnum):
    """The input that a model processes at a time."""

    TEXT = "text"
    #: Two texts with the tokenizer's separator between them, and token types if it has them.
    PAIR = "pair"
    #: A query or a document; they are tokenized differently.
    QUERY_OR_DOCUMENT = "query or document"


class Measure(StrEnum):
    """How similar a graph's output is to the source's, for one text or pair; 1 is equal.

    The values are those of `fidelity.similarity.measure` in the manifest.
    """

    #: Of two vectors.
    COSINE = "cosine"
    #: 1 - d² / 2, where d is the largest difference of a pair's scores, in standard deviations of
    #: the source's scores over all pairs. This is the cosine of two unit vectors at distance d, so
    #: floors mean the same for all kinds.
    AGREEMENT = "agreement"


@dataclass(frozen=True, kw_only=True)
class TracedValue:
    """A named value in a graph.

    Attributes:
        per_token: Whether its shape is (batch, seq, ...) or (batch, ...).
        outputs: The values of --output with which it is a graph output. Other values keep their
            name, too: Float16 finds the end of the transformer by it.
    """

    name: str
    per_token: bool = False
    outputs: tuple[Output, ...] = (Output.BOTH,)


@dataclass(frozen=True, kw_only=True)
class Head:
    """A further output of a model: a linear layer over token vectors, in a file of its own.

    Attributes:
        kind: The kind of model that gives such outputs, a value of `Kind`. It decides how they are
            compared.
        file: In the model's folder; a state dict that torch.save() wrote.
        is_weight: Whether it gives one weight per token, instead of a vector.
    """

    kind: str
    file: str
    output: str
    is_weight: bool = False


@dataclass(frozen=True, kw_only=True)
class KindRules:
    """What is true of all models of a kind.

    Attributes:
        words: For messages, with an article.
        tasks: Values of --task: optimum's name, the synonyms of optimum's TasksManager, then
            others.
        own_tasks: The tasks that optimum does not know.
        library_class: The class of sentence-transformers for the model.
        optimum_task: The task by which optimum's TasksManager loads the model; None if it does not
            support library_class, which then loads the model directly.
        model_types: Values of `model_type` in config_sentence_transformers.json.
        modules: Classes in modules.json that only models of this kind have, or their import paths.
        architectures: Architectures in config.json that only models of this kind have.
        architecture_ending: Of a plain transformers model of this kind, such as ForMaskedLM.
        is_ending_enough: Whether that ending determines the kind; otherwise --task must, too.
        heads: Further outputs, of which a model has those whose files it has; one is enough to be
            of this kind.
        values: What is traced; the graph's outputs have this order.
        unit: One output, in a word.
        reference: What outputs are compared with, for people.
        variants: Models of the kind that are read or made in a way of their own, and what they are
            recognized by; for people, with code in backticks.
        layouts_with: Those for models with a module, by its class, if not all of them.
        layouts_of: Those for a value of --output, if they differ.
        overrides: Options that change the output.
        tags: For the hub, in addition to those of every conversion.
    """

    words: str
    tasks: tuple[str, ...]
    own_tasks: tuple[str, ...] = ()
    library_class: str
    optimum_task: str | None = None
    model_types: tuple[str, ...]
    modules: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    architecture_ending: str | None = None
    is_ending_enough: bool = True
    heads: tuple[Head, ...] = ()
    values: tuple[TracedValue, ...]
    reading: Reading = Reading.TEXT
    measure: Measure = Measure.COSINE
    unit: str = "embedding"
    reference: str
    variants: tuple[str, ...] = ()
    layouts: tuple[Layout, ...]
    layouts_with: Mapping[str, tuple[Layout, ...]] = field(default_factory=dict)
    layouts_of: Mapping[Output, tuple[Layout, ...]] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    pipeline_tag: str
    tags: tuple[str, ...]

    @property
    def task(self) -> str:
        return self.tasks[0]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The values of --output."""
        return tuple(o for o in Output if any(o in value.outputs for value in self.values))

    def named_outputs(self, output: Output) -> tuple[str, ...]:
        """Returns the names of a graph's outputs, in order."""
        return tuple(value.name for value in self.values if output in value.outputs)

    def main_output(self, output: Output) -> str:
        """Returns the name of the output that every graph has, and that most programs read."""
        of_heads = {head.output for head in self.heads}
        return next(n for n in reversed(self.named_outputs(output)) if n not in of_heads)

    def layouts_for(self, output: Output) -> tuple[Layout, ...]:
        """Returns the layouts whose runtime can load a graph with these outputs."""
        return self.layouts_of.get(output, self.layouts)

    @property
    def has_token_logits(self) -> bool:
        """Whether a graph computes a value per token and vocabulary entry."""
        return any(value.name == TOKEN_LOGITS and value.per_token for value in self.values)
