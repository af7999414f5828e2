"""The prompts of a model: texts that go before its inputs."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from embconvert.models.constraints import Record, Text

#: Limits of a model's prompts; real ones have some dozens, of some hundred characters.
MAX_PROMPTS = 1000
MAX_PROMPT_CHARACTERS = 20_000
#: Names of the prompts of sentence-transformers' encode_document(), in order of preference.
OF_DOCUMENTS = ("document", "passage", "corpus")


@dataclass(frozen=True, kw_only=True)
class Prompt(Record):
    """A prompt with the name by which sentence-transformers takes it (`prompt_name`)."""

    name: Text
    text: Text


@dataclass(frozen=True, kw_only=True)
class Prompts(Record):
    """The prompts of a model, as config_sentence_transformers.json declares them.

    Attributes:
        named: In the model's order; a text may be empty, for inputs that get no prompt.
        default: Name of the prompt that sentence-transformers applies unless another is asked for.
        pooled: Whether the tokens of a prompt are pooled with those of the text.
    """

    named: Annotated[tuple[Prompt, ...], MaxLen(MAX_PROMPTS)] = ()
    default: Text | None = None
    pooled: bool = True

    def text(self, name: str | None) -> str:
        """Returns the prompt of a name; an empty one if there is none."""
        return next((prompt.text for prompt in self.named if prompt.name == name), "")

    @property
    def usual(self) -> str:
        """What sentence-transformers puts before a text if nothing is asked for."""
        return self.text(self.default)

    @property
    def for_search(self) -> tuple[str, str]:
        """The prompts of queries and documents: those named so, or else the usual one.

        Source: sentence_transformers.SentenceTransformer.encode_query and encode_document (6.2).
        """
        return self._first(("query",)), self._first(OF_DOCUMENTS)

    def _first(self, names: tuple[str, ...]) -> str:
        """Returns the first prompt of these names that is not empty; without any, the usual one."""
        declared = [self.text(p.name) for n in names for p in self.named if p.name == n]
        return next(filter(None, declared), "" if declared else self.usual)

    @property
    def distinct(self) -> tuple[str, ...]:
        """The different texts of the prompts and none (""), the usual first; () without prompts."""
        texts = tuple(prompt.text for prompt in self.named)
        return tuple(dict.fromkeys((self.usual, "", *texts))) if any(texts) else ()


#: Of a model without any.
NO_PROMPTS = Prompts()
