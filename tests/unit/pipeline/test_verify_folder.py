"""On which texts a published graph is compared with its source again."""

import pytest

from embconvert.fidelity.figures import Fidelity
from embconvert.fidelity.workload import make_workload
from embconvert.pipeline.verify_folder import needs_all_texts
from support.examples import fidelity

LENGTHS = [2 + n % 120 for n in range(300)]
#: Of models whose sample all texts can complete, of larger ones, and of the smallest.
SMALL, LARGE, ALL = (make_workload(LENGTHS, flop) for flop in (2e7, 1e9, 0.0))


def figures(texts: int, rest: int = 0, left_out: int = 0) -> Fidelity:
    return fidelity(0.001, bin_number=10, texts=texts, rest=rest, left_out=left_out)


@pytest.mark.parametrize(
    ("then", "of_small", "of_large"),
    [
        (figures(SMALL.texts, rest=300 - SMALL.texts), False, False),
        (figures(LARGE.texts), False, False),
        (figures(300), True, True),
        (figures(30, left_out=270), True, True),
        (None, True, False),
    ],
)
def test_a_graph_is_compared_on_the_texts_of_its_conversion(
    then: Fidelity | None, of_small: bool, of_large: bool
) -> None:
    assert needs_all_texts(then, SMALL) == of_small
    assert needs_all_texts(then, LARGE) == of_large
    assert not needs_all_texts(then, ALL)
