"""Records of real repositories: their structure as data, and what embconvert makes of them.

The records are in tests/twins/records, a file per kind of model. A record says what is in the
repository; sizes in it are the real ones, which build.py scales down.
"""

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from embconvert.models.architectures import text_settings
from embconvert.models.kinds import Kind

RECORDS = Path(__file__).parents[2] / "twins" / "records"


#: What configurations call the size of a token vector.
HIDDEN_SIZES = ("hidden_size", "d_model", "dim", "n_embd")


class Status(StrEnum):
    """What becomes of a model."""

    WORKS = "works"
    FLAG = "needs a flag"
    REFUSED = "refused"
    NOT_YET = "not yet"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Part):
    """How a repository stores its weights.

    Attributes:
        formats: Which files there are; the libraries prefer safetensors.
        dtype: As stored.
        prefix: What the names begin with in place of transformers' own prefix; None to keep that.
        renamed: Parts of names that are others in the files.
        shards: How many files.
        unused: Weights that the model does not have any more, by name, with the twin's shapes.
        more: Matrices beside the transformer's, by name, with their real shapes.
        tasks: Names of the adapters inside of the weights.
    """

    formats: tuple[Literal["safetensors", "pickle"], ...] = ("safetensors",)
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    prefix: str | None = None
    renamed: dict[str, str] = Field(default_factory=dict)
    shards: int = 1
    unused: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    more: dict[str, tuple[int, int]] = Field(default_factory=dict)
    tasks: tuple[str, ...] = ()


class Tokenizer(_Part):
    """A tokenizer.

    Attributes:
        class_name: In tokenizer_config.json.
        length: Its model_max_length; None for "unlimited".
        settings: More of tokenizer_config.json.
        pipeline: The class whose pipeline tokenizer.json has, where `class` names none.
        template: What becomes of a text ($A), where it is not what its class does.
        fixed: The fixed length of padding and truncation in tokenizer.json, if there is one.
        chat_template: What it is for, if there is one.
        added: Tokens that were added to it; they have the ids after the vocabulary's.
    """

    class_name: str = Field(alias="class")
    length: int | None = 512
    settings: dict[str, Any] = Field(default_factory=dict)
    pipeline: str | None = None
    template: str | None = None
    fixed: int | None = None
    chat_template: Literal["messages", "pair", "represent"] | None = None
    added: tuple[str, ...] = ()


class Refusal(_Part):
    """How a conversion ends: its exit code, and a part of its only error."""

    code: int
    message: str


#: A module: its class and the settings in its file.
Module = dict[str, dict[str, Any]]


class Twin(_Part):
    """A repository.

    Attributes:
        model: Its id on the hub.
        year: When it was published.
        source: Where the structure is described.
        known: "read" if this was looked up there, "general" if it is general knowledge.
        config: The decisive keys of config.json.
        like: The zoo's architecture of this structure, where it is not config.json's model_type.
        sizes: Keys of config.json that are others in the twin than the zoo's.
        keeps_ids: Whether the ids in config.json are not those of the tokenizer.
        modules: Of modules.json, in order; None without that file.
        module_weights: Formats of the weights of modules after the transformer.
        written_by: Version of sentence-transformers that wrote the module files; None if there is
            no config_sentence_transformers.json.
        library: More of config_sentence_transformers.json, such as prompts.
        metadata: artifact.metadata of the original ColBERT.
        settings: Further settings files, as they are.
        heads: Files of heads over the token vectors, as BGE-M3 has them.
        adapters: Folders of LoRA adapters, each with a regular expression of its modules.
        others: Further files, which embconvert does not need.
        copy_modules: Of its copy with transformers' own class, which is compared with; None for a
            repository that its library loads as it is.
        code: Whether the repository has Python files that its config.json names.
        reads_empty_texts: Whether its library does.
        note: For docs/models.md.
        asked: Options with which a conversion is tried.
        flags: Without which the model is refused.
        refusal: How it is refused; for one that needs a flag, without it.
        said: What a conversion tells the user, in parts.
    """

    model: str
    year: int
    kind: Kind
    source: tuple[str, ...]
    known: Literal["read", "general"]
    config: dict[str, Any]
    like: str | None = None
    sizes: dict[str, int] = Field(default_factory=dict)
    keeps_ids: bool = False
    weights: Weights = Weights()
    tokenizer: Tokenizer | None
    modules: tuple[Module, ...] | None = None
    module_weights: tuple[Literal["safetensors", "pickle"], ...] = ("safetensors",)
    written_by: str | None = "3.0.1"
    library: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    heads: tuple[str, ...] = ()
    adapters: dict[str, str] = Field(default_factory=dict)
    others: tuple[str, ...] = ()
    copy_modules: tuple[Module, ...] | None = None
    code: Literal["own", "elsewhere"] | None = None
    reads_empty_texts: bool = True
    status: Status
    note: str = ""
    asked: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    refusal: Refusal | None = None
    said: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_what_its_status_needs(self) -> "Twin":
        if (self.refusal is None) is not (self.status is Status.WORKS):
            raise ValueError(f"{self.model}: a model that works is not refused, and all others are")
        if bool(self.flags) is not (self.status is Status.FLAG):
            raise ValueError(f"{self.model}: flags are for models that need one")
        return self

    @property
    def name(self) -> str:
        """The last part of its id, which is the name of its folder."""
        return self.model.rpartition("/")[2]

    @property
    def adapter(self) -> str | None:
        """The first of its adapters, which is merged; None if it has none."""
        return next(iter((*self.adapters, *self.weights.tasks)), None)

    @property
    def for_library(self) -> "Twin":
        """It, or its copy with transformers' own class and without code."""
        if self.copy_modules is None:
            return self
        config = {k: v for k, v in self.config.items() if k not in ("auto_map", "architectures")}
        return self.model_copy(
            update={
                "config": config | {"model_type": self.like},
                "modules": self.copy_modules,
                "weights": self.weights.model_copy(update={"prefix": None}),
            }
        )

    @property
    def routes(self) -> tuple[str | None, ...]:
        """The routes that are converted; None stands for a model without any."""
        if "--route" in self.flags:
            return (self.flags[self.flags.index("--route") + 1],)
        router = next((m["Router"] for m in self.modules or () if "Router" in m), None)
        return (None,) if router is None else tuple(router["routes"])

    @property
    def is_on_card_only(self) -> bool:
        """Whether it is a generative reranker of which only the card says how it scores."""
        names = self.config.get("architectures") or [""]
        return (
            self.kind is Kind.RERANKER
            and self.modules is None
            and str(names[0]).endswith("ForCausalLM")
        )

    @property
    def hidden_size(self) -> int:
        config = text_settings(self.config)
        return int(next(config[key] for key in HIDDEN_SIZES if key in config))

    @property
    def architecture(self) -> str:
        """A key of zoo.ARCHITECTURES."""
        return self.like or str(self.config.get("model_type"))

    @property
    def prompts(self) -> dict[str, str]:
        return {name: text for name, text in self.library.get("prompts", {}).items() if text}

    def settings_of(self, module: str) -> dict[str, Any]:
        """The settings of the first module of a class; empty if there is none."""
        found = (entry[module] for entry in self.modules or () if module in entry)
        return next(found, {})


_FILE = TypeAdapter(list[Twin])


@cache
def twins() -> tuple[Twin, ...]:
    """Returns all records, by kind and name.

    Raises:
        pydantic.ValidationError: A record is malformed.
    """
    found: list[Twin] = []
    for path in sorted(RECORDS.glob("*.yaml")):
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = [{"kind": path.stem, **entry} for entry in value]
        found += sorted(_FILE.validate_python(entries), key=lambda twin: twin.name.lower())
    names = [twin.model for twin in found]
    assert len(set(names)) == len(names), "a model has two records"
    return tuple(found)
