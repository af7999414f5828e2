"""What a file with a fixed shape is compared with."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from embconvert.console import Progress, Relay
from embconvert.errors import FidelityError
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item, Prompted
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.fidelity.workload import make_workload
from embconvert.models.kinds import Kind
from embconvert.models.prompts import Prompts
from embconvert.pipeline.reference import (
    FEWEST_TEXTS,
    Reference,
    Unsettled,
    by_prompt,
    compared_texts,
)
from embconvert.processes.worker import Work, finish

LENGTHS = range(2, 42)


def reference() -> Reference:
    """The embedding of each text is its number, in every batch."""
    workload = make_workload(list(LENGTHS))
    rows = [index for group in workload.groups for index in group]
    return Reference(
        ids=[f"text {index}" for index in rows],
        items=[f"text {index}" for index in range(len(LENGTHS))],
        tokens=TokenizedTexts(
            ids=tuple(np.zeros(n, np.int64) for n in LENGTHS),
            type_ids=tuple(np.zeros(n, np.int64) for n in LENGTHS),
        ),
        workload=workload,
        embeddings=Embeddings(
            sentence=np.array(rows, np.float32)[:, None],
            token_mean=None,
            tokens=tuple(np.full((1, 1), row, np.float32) for row in rows),
        ),
        rules=None,
    )


@pytest.mark.parametrize("most", [None, 41])
def test_it_is_the_whole_one_if_all_texts_fit(most: int | None) -> None:
    whole = reference()
    assert whole.within(most, "m") == (whole, 0)


def test_longer_texts_are_left_out_with_their_rows() -> None:
    part, left_out = reference().within(21, "m")
    assert left_out == 20
    rows = [index for group in part.workload.groups for index in group]
    assert set(rows) == set(range(20))
    assert part.ids == [f"text {index}" for index in rows]
    assert part.embeddings.sentence is not None
    assert part.embeddings.sentence[:, 0].tolist() == rows
    assert part.embeddings.tokens is not None
    assert [float(vector[0, 0]) for vector in part.embeddings.tokens] == rows


def test_too_few_texts_of_a_sample_settle_nothing_where_all_texts_have_enough() -> None:
    whole = reference()
    half = replace(whole.workload, similar=((0, 1, 2),), mixed=(0,), rest=(tuple(range(3, 40)),))
    with pytest.raises(Unsettled, match="too few texts"):
        replace(whole, workload=half).within(21, "m")
    with pytest.raises(FidelityError, match="only 15 of 40 texts"):
        replace(whole, workload=half).within(FEWEST_TEXTS, "m")


@pytest.mark.parametrize(("prompts", "is_sample"), [(2, True), (200, False)])
def test_no_prompt_that_the_graph_leaves_out_is_missing_in_a_sample(
    prompts: int, is_sample: bool
) -> None:
    items = [Prompted("a", f"prompt {n % prompts}") for n in range(300)]
    workload = by_prompt(items, [2 + n % 120 for n in range(300)], 2e7, 0)
    assert bool(workload.rest) == is_sample
    of_batches = [{items[i].prompt for i in group} for group in workload.similar]
    assert set(map(len, of_batches)) == {1}
    assert len(set.union(*of_batches)) == prompts


def test_too_few_texts_tell_nothing() -> None:
    longest = 1 + FEWEST_TEXTS
    reference().within(longest, "m")
    with pytest.raises(FidelityError, match="m is not published: only 15 of 40 texts") as caught:
        reference().within(longest - 1, "m")
    assert "--shape with more tokens" in caught.value.hint


@pytest.mark.parametrize("offers_all", [True, False])
def test_an_option_is_named_only_by_commands_that_have_it(offers_all: bool) -> None:
    def tokenize(items: Sequence[Item]) -> Work[TokenizedTexts]:
        yield from ()
        ids = tuple(np.zeros(2 + number % 120, np.int64) for number in range(len(items)))
        return TokenizedTexts(ids=ids, type_ids=ids)

    told: list[Progress] = []
    finish(
        compared_texts(
            Kind.EMBEDDING, Prompts(), tokenize, Relay(told.append), flop_per_token=2e7,
            wide_values=0, offers_all=offers_all,
        )
    )  # fmt: skip
    (message,) = [progress.message for progress in told]
    assert message.startswith("comparing on a sample of ")
    assert message.endswith(" (--full_validation uses all)") == offers_all
