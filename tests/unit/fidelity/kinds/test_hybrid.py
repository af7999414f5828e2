"""How the outputs of a hybrid model are read and compared, each by its own measure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from embconvert.fidelity.figures import Embeddings, Fidelity
from embconvert.fidelity.floors import floor_for, shortfall, shortfall_near
from embconvert.fidelity.kinds.hybrid import COMPARISON
from embconvert.fidelity.tokenization import TokenizedTexts
from embconvert.models.choices import Precision
from embconvert.models.kinds import Kind

PAD = 1
TEXTS = TokenizedTexts(
    ids=(np.array([8, 5, 6, 5]), np.array([8, 7])), type_ids=(np.zeros(4, int), np.zeros(2, int))
)


def outputs(**changes: Any) -> dict[str, Any]:
    """Those of a graph for both texts; the second one has two tokens of padding."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(2, 4, 3)).astype(np.float32)
    vectors[:, 0] = vectors[1, 2:] = 0
    values = {
        "last_hidden_state": random.normal(size=(2, 4, 6)).astype(np.float32),
        "sentence_embedding": random.normal(size=(2, 6)).astype(np.float32),
        "token_weights": np.array([[0, 0.5, 0.25, 0.75], [0, 1, 0, 0]], np.float32),
        "colbert_embeddings": vectors,
    }
    return values | changes


def read(**changes: Any) -> Embeddings:
    return COMPARISON.read(outputs(**changes), TEXTS, [0, 1])


def compared(theirs: Embeddings, ours: Embeddings, ids: list[str] | None = None) -> Fidelity:
    return COMPARISON.compare(theirs, ours, text_ids=ids or ["a", "b"], batch=1.0)


def test_each_output_is_read_by_its_name() -> None:
    found = read()
    values = outputs()
    assert found.words is not None
    ids, weights = found.words[0]
    assert dict(zip(ids.tolist(), weights.tolist(), strict=True)) == {5: 0.75, 6: 0.25, 8: 0}
    assert found.tokens is not None
    np.testing.assert_array_equal(found.tokens[0], values["colbert_embeddings"][0, 1:])
    np.testing.assert_array_equal(found.tokens[1], values["colbert_embeddings"][1, 1:2])
    np.testing.assert_array_equal(found.sentence, values["sentence_embedding"])


def test_vectors_of_a_head_are_not_taken_for_hidden_states() -> None:
    values = outputs()
    del values["last_hidden_state"]
    assert COMPARISON.read(values, TEXTS, [0, 1]).token_mean is None


def test_each_head_has_its_own_figures() -> None:
    weights = outputs()["token_weights"]
    weights[1, 1] = 0
    figures = compared(read(), read(token_weights=weights))
    assert figures.similarity.min == pytest.approx(1.0)
    assert figures.heads[Kind.LATE_INTERACTION].lowest_token_cosine == pytest.approx(1.0)
    assert figures.heads[Kind.SPARSE].similarity.min == 0.0
    assert figures.heads[Kind.SPARSE].active_overlap == 0.5
    assert not figures.is_same
    assert figures.lowest_mean == pytest.approx(0.5)


def test_a_weight_of_padding_is_an_error_of_the_graph() -> None:
    weights = outputs()["token_weights"]
    weights[1, 3] = 0.4
    assert compared(read(), read(token_weights=weights)).heads[Kind.SPARSE].similarity.min < 0.95


def test_each_head_is_compared_with_itself_in_other_batches() -> None:
    theirs = read()
    assert theirs.words is not None
    again = replace(theirs, words=(theirs.words[0], theirs.words[0]))
    figures = compared(theirs, again, ["a", "a"])
    assert figures.heads[Kind.SPARSE].similarity.batch == pytest.approx(1.0)
    assert figures.heads[Kind.LATE_INTERACTION].similarity.batch < 0.9


@pytest.mark.parametrize("output", ["token_weights", "colbert_embeddings"])
def test_an_output_that_the_graph_lacks_is_an_error(output: str) -> None:
    values = {name: value for name, value in outputs().items() if name != output}
    with pytest.raises(ValueError, match="the graph has no output"):
        compared(read(), COMPARISON.read(values, TEXTS, [0, 1]))


def test_a_model_may_have_one_of_the_heads() -> None:
    one = replace(read(), words=None)
    assert set(compared(one, one).heads) == {Kind.LATE_INTERACTION}


def test_a_head_below_the_threshold_is_named() -> None:
    wrong = outputs()["colbert_embeddings"]
    wrong[0] = -wrong[0]
    figures = compared(read(), read(colbert_embeddings=wrong))
    problem = shortfall(figures, floor_for(Precision.QINT8, None))
    assert problem is not None
    assert problem.startswith("late-interaction head: mean cosine")


def test_the_only_weight_of_a_text_may_round_to_zero_if_it_is_quantized() -> None:
    """Its cosine is 0 then."""
    figures = compared(read(), read())
    sparse = figures.heads[Kind.SPARSE]
    rounded = replace(sparse, similarity=replace(sparse.similarity, min=0.0, mean=0.99))
    figures = replace(figures, heads={**figures.heads, Kind.SPARSE: rounded})
    assert shortfall(figures, floor_for(Precision.QINT8, None)) is None
    assert "sparse head" in str(shortfall(figures, floor_for(Precision.FLOAT32, None)))


def test_a_head_that_is_measured_again_has_a_floor_of_its_own() -> None:
    same = compared(read(), read())
    assert shortfall_near(same, same, Precision.QINT8) is None
    sparse = same.heads[Kind.SPARSE]
    worse = replace(sparse, similarity=replace(sparse.similarity, mean=0.9))
    lower = replace(same, heads={**same.heads, Kind.SPARSE: worse})
    assert shortfall_near(lower, lower, Precision.QINT8) is None
    assert "sparse head" in str(shortfall_near(lower, same, Precision.QINT8))
    assert "heads none" in str(shortfall_near(replace(same, heads={}), same, Precision.QINT8))
