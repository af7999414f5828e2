"""Templates of generative rerankers whose repositories describe them only on their card.

Their files are those of a language model: neither the text around a pair nor the words whose logits
are the score is in a file. These are the ones of well-known models, from the code on their cards.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from embconvert.models.pair_template import joined_by
from embconvert.overriding import override


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """The next tokens of a language model whose logits are the score of a pair.

    Attributes:
        true: The word whose logit is the score, or a token's id.
        false: The word whose logit is subtracted; None for none.
        are_entries: Whether words are entries of the vocabulary, as vLLM reads them, and not text.
    """

    true: str | int
    false: str | None = None
    are_entries: bool = False

    @property
    def template_name(self) -> str | None:
        """The `--reranker_template`; None if the model has its own chat template."""
        return None

    @property
    def chat_template(self) -> str | None:
        """What replaces the tokenizer's chat template; None for nothing."""
        return None


@dataclass(frozen=True, kw_only=True)
class RerankerTemplate(NextToken):
    """How a language model scores a pair.

    Attributes:
        name: What `--reranker_template` takes.
        source: Whose card has it.
        repositories: Regular expression of the names, without owner, of the repositories that are
            known to use it.
        model_type: Theirs, in config.json.
        starts_with_bos: Whether the tokenizer's bos token is before the prefix.
        prefix: Before the query, with the default instruction.
        middle: Between the two.
        suffix: After the document.
        document_first: Whether the document is before the query.
        note: What else the card's code does; empty for nothing.
    """

    name: str
    source: str
    repositories: str
    model_type: str
    prefix: str
    middle: str
    suffix: str
    starts_with_bos: bool = False
    document_first: bool = False
    note: str = ""

    @property
    @override
    def template_name(self) -> str:
        return self.name

    @property
    @override
    def chat_template(self) -> str:
        """The same for transformers, which gives it messages of a query and of a document."""
        roles = ("document", "query") if self.document_first else ("query", "document")
        inputs = [
            f"{{{{ (messages | selectattr('role', 'eq', '{role}') | first).content }}}}"
            for role in roles
        ]
        # As literals: transformers strips blanks of a template, such as a last line break.
        around = [f"{{{{ {json.dumps(text)} }}}}" for text in self._around]
        return "{{ bos_token }}" * self.starts_with_bos + joined_by(around, inputs)

    @property
    def _around(self) -> tuple[str, str, str]:
        return self.prefix, self.middle, self.suffix

    def is_of(self, model_id: str, model_type: str) -> bool:
        """Whether a model is known to use it, by its name and architecture."""
        name = model_id.rpartition("/")[2]
        return model_type == self.model_type and bool(re.fullmatch(self.repositories, name))


_USER = "<|im_end|>\n<|im_start|>user\n"
_ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"

_ALL = (
    RerankerTemplate(
        name="qwen3-reranker",
        source="Qwen/Qwen3-Reranker-0.6B",
        repositories=r"Qwen3-Reranker-(0\.6B|4B|8B)",
        model_type="qwen3",
        prefix=(
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the "
            'Query and the Instruct provided. Note that the answer can only be "yes" or "no".'
            f"{_USER}<Instruct>: Given a web search query, retrieve relevant passages that answer "
            "the query\n<Query>: "
        ),
        middle="\n<Document>: ",
        suffix=f"{_ASSISTANT}<think>\n\n</think>\n\n",
        true="yes",
        false="no",
    ),
    # Its library tokenizes query, document and instructions by themselves; sentence-transformers
    # reads the text as a whole, where "?" and a line break can be one token.
    RerankerTemplate(
        name="mxbai-rerank-v2",
        source="mixedbread-ai/mxbai-rerank-base-v2",
        repositories=r"mxbai-rerank-(base|large)-v2",
        model_type="qwen2",
        prefix=(
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
            f"assistant.{_USER}query: "
        ),
        middle="\ndocument: ",
        suffix=(
            "\nYou are a search relevance expert who evaluates how well documents match search "
            "queries. For each query-document pair, carefully analyze the semantic relationship "
            "between them, then provide your binary relevance judgment (0 for not relevant, 1 for "
            f"relevant).\nRelevance:{_ASSISTANT}"
        ),
        true="1",
        false="0",
    ),
    RerankerTemplate(
        name="zerank",
        source="zeroentropy/zerank-2",
        repositories=r"zerank-(1|1-small|2)(-reranker)?",
        model_type="qwen3",
        prefix="<|im_start|>system\n",
        middle=_USER,
        suffix=_ASSISTANT,
        true="Yes",
        note="its code divides the logits by 5",
    ),
    RerankerTemplate(
        name="bge-reranker-v2-gemma",
        source="BAAI/bge-reranker-v2-gemma",
        repositories="bge-reranker-v2-gemma",
        model_type="gemma",
        starts_with_bos=True,
        prefix="A: ",
        middle="\nB: ",
        suffix=(
            "\nGiven a query A and a passage B, determine whether the passage contains an answer "
            "to the query by providing a prediction of either 'Yes' or 'No'."
        ),
        true="Yes",
    ),
    RerankerTemplate(
        name="ctxl-rerank-v2",
        source="ContextualAI/ctxl-rerank-v2-instruct-multilingual-1b",
        repositories=r"ctxl-rerank-v2-instruct-multilingual-(1b|2b|6b)",
        model_type="qwen3",
        prefix=(
            "Check whether a given document contains information helpful to answer the query.\n"
            "<Document> "
        ),
        middle="\n<Query> ",
        suffix=" ??",
        document_first=True,
        true=0,
    ),
)
RERANKER_TEMPLATES: Mapping[str, RerankerTemplate] = {found.name: found for found in _ALL}


def template_name_of(model_id: str, model_type: str) -> str | None:
    """Returns the name of the template that a model is known to use; None if of none."""
    return next(
        (name for name, t in RERANKER_TEMPLATES.items() if t.is_of(model_id, model_type)), None
    )
