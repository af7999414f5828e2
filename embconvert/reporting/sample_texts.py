"""The texts of the code samples, and the prompts before them.

Most programs know nothing of a model's prompts: there a prompt is part of the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from embconvert.foreign_text import json_string, python_string
from embconvert.models.prompts import NO_PROMPTS, OF_DOCUMENTS, Prompts
from embconvert.models.routes import Route

#: Two texts of similar meaning.
TEXTS = ("How do I reset my password?", "Where can I change my login?")
#: The first document answers the query.
QUERY = "How do I reset my password?"
DOCUMENTS = (
    "To change your login, open the settings and choose a new password.",
    "Our office is closed on Sundays.",
)


@dataclass(frozen=True, kw_only=True)
class SampleTexts:
    """The two texts of a code sample.

    Attributes:
        names: The name of each text's prompt; None for no prompt.
        is_search: Whether they are a query and a document, which have prompts of their own.
        advised: Whether the prompts are in no file of the model, so that no program applies them.
    """

    prompts: Prompts
    names: tuple[str | None, str | None]
    is_search: bool = False
    advised: bool = False

    @property
    def plain(self) -> tuple[str, str]:
        return (QUERY, DOCUMENTS[0]) if self.is_search else TEXTS

    @property
    def literal(self) -> tuple[str, str]:
        """The texts after their prompts."""
        first, second = self.plain
        return self.prompts.text(self.names[0]) + first, self.prompts.text(self.names[1]) + second

    @property
    def for_search(self) -> tuple[str, str]:
        """The prompts of a search engine's queries and documents; empty ones for none."""
        applied = self.is_search or self.names[0] == self.prompts.default
        first, second = map(self.prompts.text, self.names)
        return (first, second) if applied else ("", "")

    @property
    def in_python(self) -> str:
        """A list of the texts after their prompts, in Python."""
        return _listed(map(python_string, self.literal))

    @property
    def in_javascript(self) -> str:
        """The same in JavaScript."""
        return _listed(map(json_string, self.literal))

    @property
    def for_sentence_transformers(self) -> str:
        """The code that embeds them, which names the prompts that are not applied anyway."""
        if not self.is_search:
            name = self.names[0] if self.names[0] != self.prompts.default else None
            named = "" if name is None else f", prompt_name={python_string(name)}"
            return (
                f"embeddings = model.encode({_listed(map(python_string, self.plain))}{named})\n"
                "print(model.similarity(embeddings, embeddings))"
            )
        if self.advised:
            query, document = (_listed([python_string(text)]) for text in self.literal)
            return (
                f"queries = model.encode({query})\n"
                f"documents = model.encode({document})\n"
                "print(model.similarity(queries, documents))"
            )
        query, document = map(python_string, self.plain)
        name = self.names[1]
        call = f"encode_document([{document}])"
        if name not in (None, OF_DOCUMENTS[0]):
            # encode_document() would take the empty prompt of "document".
            call = f"encode([{document}], prompt_name={python_string(str(name))})"
        return (
            f"queries = model.encode_query([{query}])\n"
            f"documents = model.{call}\n"
            "print(model.similarity(queries, documents))"
        )


def prompt_of_task(prompts: Prompts, task: str | None) -> str | None:
    """Returns the name of the prompt of encode_query() or encode_document(), if there is one."""
    names = {"query": ("query",), "document": OF_DOCUMENTS}.get(task or "", ())
    known = [prompt.name for prompt in prompts.named]
    return next((name for name in names if name in known), None)


def sample_texts(
    prompts: Prompts, route: Route | None = None, advised: Prompts = NO_PROMPTS
) -> SampleTexts:
    """Chooses the prompts of a sample: those for search, or the default, or the first.

    A route embeds one side of a search only. `advised` are those that only the model's card has.
    """
    if advised.named:
        return replace(sample_texts(advised), advised=True)
    if route is not None:
        name = prompt_of_task(prompts, route.task)
        return SampleTexts(prompts=prompts, names=(name, name))
    named = [prompt.name for prompt in prompts.named if prompt.text]
    query = "query" if "query" in named else None
    document = next((name for name in OF_DOCUMENTS if name in named), None)
    if query or document:
        return SampleTexts(prompts=prompts, names=(query, document), is_search=True)
    name = prompts.default if prompts.usual else next(iter(named), None)
    return SampleTexts(prompts=prompts, names=(name, name))


def query_prompt(prompts: Prompts) -> str | None:
    """Returns the name of the prompt for a reranker's queries; None if it has none."""
    if prompts.usual:
        return prompts.default
    named = [prompt.name for prompt in prompts.named if prompt.text]
    return "query" if "query" in named else next(iter(named), None)


def query_lines(query: str) -> str:
    """Returns Python code for a query and the documents."""
    first, second = map(python_string, DOCUMENTS)
    return f"""\
query = {python_string(query)}
documents = [
    {first},
    {second},
]
"""


def _listed(literals: Iterable[str]) -> str:
    return "[\n" + "".join(f"    {literal},\n" for literal in literals) + "]"
