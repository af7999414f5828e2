"""Computes the reference: the source's embeddings of the built-in texts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from embconvert.console import Console
from embconvert.errors import FidelityError
from embconvert.fidelity.embedding import join
from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.fidelity.lookups import distinct_tokens
from embconvert.fidelity.texts import Item, prompt_of, verification_items
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import ALL_TEXTS, Workload, workload_for
from embconvert.manifest import PromptShare
from embconvert.models.kinds import KINDS, Kind, Reading
from embconvert.models.output_rules import OutputRules
from embconvert.models.prompts import Prompts
from embconvert.models.values import ResolvedModel
from embconvert.pipeline.source_process import SourceProcess
from embconvert.processes.worker import Work
from embconvert.request.records import Request

#: Of a file with a fixed shape; the smallest sample of a large model has as many.
FEWEST_TEXTS = 16


class Unsettled(Exception):  # noqa: N818 - not an error
    """The texts of a sample do not settle whether a graph is good; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ComparedTexts:
    """What is embedded for a comparison.

    Attributes:
        ids: Text ids of the rows.
        items: The texts, of which the workload has the numbers.
        shares: How many of the texts have each prompt; empty if they have none.
    """

    ids: list[str]
    items: list[Item]
    tokens: TokenizedTexts
    workload: Workload
    shares: tuple[PromptShare, ...] = ()

    def reference(
        self, embeddings: Embeddings, rules: OutputRules | None, rows: FloatArray | None
    ) -> "Reference":
        """Returns the reference; arguments as its attributes."""
        return Reference(**vars(self), embeddings=embeddings, rules=rules, rows=rows)


@dataclass(frozen=True, kw_only=True)
class Reference(ComparedTexts):
    """What graphs are compared with.

    Attributes:
        embeddings: One row per text of each batch.
        rules: How the graphs' outputs are read; None if they are float vectors or scores.
        rows: If all texts can be compared should a sample not settle it: rows of the source's token
            table for the tokens of all texts, (tokens, width) float32; None without such a table.
    """

    embeddings: Embeddings
    rules: OutputRules | None
    rows: FloatArray | None = None

    def within(self, most: int | None, name: str) -> "tuple[Reference, int]":
        """Returns the reference of the texts that have at most so many tokens.

        Args:
            most: None for any number.
            name: Of the file that reads them, for the error.

        Returns:
            Also how many texts are left out.

        Raises:
            FidelityError: Too few are left to tell anything.
            Unsettled: Too few of a sample are left, but enough of all texts.
        """
        lengths = self.tokens.lengths
        texts = [i for group in self.workload.similar for i in group]
        others = [i for group in self.workload.rest for i in group]
        kept = {i for i in (*texts, *others) if most is None or lengths[i] <= most}
        left_out = len(texts) + len(others) - len(kept)
        if not left_out:
            return self, 0
        if len(kept) < FEWEST_TEXTS:
            raise FidelityError(
                f"{name} is not published: only {len(kept)} of {left_out + len(kept)} texts have "
                f"at most {most} tokens, too few to verify it",
                "give a --shape with more tokens, compare on all texts (--full_validation), or "
                "accept it (--skip_validation)",
            )
        if len(kept.intersection(texts)) < FEWEST_TEXTS:
            raise Unsettled("too few texts of the sample fit its shape")
        workload = self.workload.only(kept)
        row_of = {text: row for row, text in enumerate(texts)}
        rows = [row_of[text] for group in workload.groups for text in group]
        part = replace(
            self,
            ids=[self.ids[row] for row in rows],
            workload=workload,
            embeddings=self.embeddings.rows(rows),
        )
        return part, left_out


def flop_per_token(request: Request, resolved: ResolvedModel) -> float:
    """Returns what a token costs, which decides whether a run compares a sample or all texts."""
    return ALL_TEXTS if request.full_validation else resolved.flop_per_token


def make_reference(
    source: SourceProcess,
    console: Console,
    *,
    layer_by_layer: bool,
    flop_per_token: float,
    wide_values: int,
    offers_all: bool = True,
) -> Work[Reference]:
    """Embeds the built-in texts with the loaded source, on a sample if tokens cost much.

    `offers_all` says whether the command has --full_validation, which a message then names.

    Raises EmbconvertError, in the work, if the texts cannot be tokenized, or the source fails.
    """
    assert source.loaded is not None
    prompts, kind = source.loaded.prompts, source.kind
    compared = yield from compared_texts(
        kind,
        prompts,
        source.tokenize,
        console,
        flop_per_token=flop_per_token,
        wide_values=wide_values,
        offers_all=offers_all,
    )
    workload, rows = compared.workload, None
    if workload.rest:
        rows = yield from source.rows(distinct_tokens(compared.tokens))
    parts = yield from source.embed(compared.items, workload, layer_by_layer=layer_by_layer)
    embeddings = join(parts)
    if embeddings.is_constant:
        console.warn(
            "the source model gives all texts the same output: its weights may be broken, and then "
            "verification tells nothing"
        )
    return compared.reference(embeddings, source.output_rules, rows)


def compared_texts(
    kind: Kind,
    prompts: Prompts,
    tokenize: Callable[[Sequence[Item]], Work[TokenizedTexts]],
    console: Console,
    *,
    flop_per_token: float,
    wide_values: int,
    offers_all: bool = True,
) -> Work[ComparedTexts]:
    """Returns which built-in texts are compared, in which batches, and says so.

    Args:
        tokenize: Texts that it gives no tokens are left out.
        flop_per_token: See make_reference().
        offers_all: See make_reference().
    """
    reading = KINDS[kind].reading
    texts = verification_items(reading, prompts.distinct)
    tokens = yield from tokenize(texts.items)
    present = [i for i, length in enumerate(tokens.lengths) if length]
    if len(present) < len(texts.ids):
        console.say(f"{len(texts.ids) - len(present)} texts have no tokens and are skipped")
    tokens = tokens.subset(present)
    items = [texts.items[i] for i in present]
    if prompts.pooled:
        workload = workload_for(items, tokens.lengths, flop_per_token, wide_values)
    else:
        workload = by_prompt(items, tokens.lengths, flop_per_token, wide_values)
    if workload.texts < len(present):
        then = ", and on all if the sample does not decide" if workload.rest else ""
        console.say(
            f"comparing on a sample of {workload.texts} of {len(present)} texts{then}"
            + " (--full_validation uses all)" * offers_all
        )
    shares: tuple[PromptShare, ...] = ()
    # Of queries and documents, each has its prompt.
    if prompts.distinct and reading is not Reading.QUERY_OR_DOCUMENT:
        counts = Counter(prompt_of(items[i]) for group in workload.similar for i in group)
        shares = tuple(PromptShare(prompt=p, texts=counts[p]) for p in prompts.distinct)
        console.say(_shares_in_words(prompts, shares))
    return ComparedTexts(
        ids=[texts.ids[present[i]] for group in workload.groups for i in group],
        items=items,
        tokens=tokens,
        workload=workload,
        shares=shares,
    )


def by_prompt(
    items: Sequence[Item], lengths: Sequence[int], flop_per_token: float, wide_values: int
) -> Workload:
    """Makes the batches of a model whose graph recognizes each prompt, to leave it out.

    So a sample without a prompt would not do. Each batch has one prompt, because
    sentence-transformers leaves out as many tokens of every text.
    """
    workload = workload_for(items, lengths, flop_per_token, wide_values)
    prompts = [prompt_of(item) for item in items]
    seen = {prompts[i] for group in workload.similar for i in group}
    if workload.rest and not seen.issuperset(prompts):
        workload = workload_for(items, lengths, ALL_TEXTS, wide_values)
    return workload.split(prompts)


def _shares_in_words(prompts: Prompts, shares: Sequence[PromptShare]) -> str:
    """Says how many texts are compared with which prompt."""
    names = {prompt.text: prompt.name for prompt in reversed(prompts.named)} | {"": None}
    parts = [
        f"{share.texts} with {'no prompt' if names[share.prompt] is None else names[share.prompt]}"
        for share in shares
        if share.texts
    ]
    left_out = len(shares) - len(parts)
    more = f"; {left_out} more prompts are not verified" if left_out else ""
    return f"prompts: of the texts, {', '.join(parts)}{more}"
