"""Refuses a fixed shape that has too few tokens for how a model reads texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from embconvert.errors import UsageError
from embconvert.fidelity.texts import Items, Query, is_blank_id, prompt_of, verification_items
from embconvert.manifest.building import LoadedSource
from embconvert.models.forms import most_tokens
from embconvert.models.kinds import KINDS, Kind, Reading
from embconvert.models.shapes import Shape
from embconvert.pipeline.reference import FEWEST_TEXTS
from embconvert.pipeline.source_process import tokenize_apart
from embconvert.plan.steps import Step
from embconvert.processes.worker import Work
from embconvert.processes.workers import Workers

_WORDS = {
    Reading.TEXT: "texts",
    Reading.PAIR: "pairs",
    Reading.QUERY_OR_DOCUMENT: "queries and documents",
}


def refuse_short_shapes(
    steps: Iterable[Step], kind: Kind, loaded: LoadedSource, folder: Path, workers: Workers
) -> Work[None]:
    """Raises UsageError, in the work, for a shape into which too few built-in texts fit.

    Args:
        folder: Has the tokenizer.
    """
    shaped = [step for step in steps if most_tokens(step.forms) is not None]
    if not shaped:
        return
    reading = KINDS[kind].reading
    items = verification_items(reading, loaded.prompts.distinct)
    tokens = yield from tokenize_apart(
        workers, folder, items.items, rules=loaded.input_rules, rows=loaded.rows
    )
    for step in shaped:
        fewest = FEWEST_TEXTS if step.floor is not None else 1
        least = least_tokens(items, tokens.lengths, loaded.prompts.usual, fewest)
        shape = next(form.shape for form in step.forms if form.shape is not None)
        if shape.tokens < least:
            raise too_short(shape, least, reading)


def least_tokens(items: Items, lengths: Sequence[int], usual: str, fewest: int) -> int:
    """Returns how many tokens a shape must have.

    So many of the texts must fit into it; besides, at least one with the usual prompt, and of a
    model that reads queries and documents, one of each. Texts without visible characters do not
    count, nor those without tokens.

    Args:
        lengths: Of the items, in tokens.
        usual: The usual prompt.
        fewest: How many of the texts.
    """
    counted = [
        (length, item)
        for text_id, item, length in zip(items.ids, items.items, lengths, strict=True)
        if length and not is_blank_id(text_id)
    ]
    usually = [(length, item) for length, item in counted if prompt_of(item) == usual]
    groups = [
        [length for length, item in usually if isinstance(item, Query) is q] for q in (False, True)
    ]
    ordered = sorted(length for length, _ in counted)
    least = [*ordered[fewest - 1 : fewest], *(min(group) for group in groups if group)]
    return max(least, default=0)


def too_short(shape: Shape, least: int, reading: Reading) -> UsageError:
    return UsageError(
        f"--shape {shape} is too short: too few {_WORDS[reading]} have at most {shape.tokens} "
        "tokens, with the special tokens, prompt or template of the model",
        f"give at least --shape {shape.texts}x{least}",
    )
