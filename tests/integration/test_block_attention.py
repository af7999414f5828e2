"""BigBird's long texts get the vectors that sentence-transformers gives after a short text."""

from pathlib import Path

import numpy as np
import pytest

from support import zoo
from support.exports import load

pytestmark = pytest.mark.integration


def test_long_texts_are_read_as_after_a_short_one(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    blocks = {"attention_type": "block_sparse", "block_size": 8, "num_random_blocks": 1}
    model = zoo.build_model("big_bird", tmp_path / "model", overrides=blocks)
    said: list[str] = []
    ours = load(model, warn=said.append).encode([[zoo.LONG_SENTENCE]])[0].sentence
    assert "a batch of more than 56 tokens" in " ".join(said)
    chain = SentenceTransformer(str(model), device="cpu")
    at_first = chain.encode([zoo.LONG_SENTENCE])
    chain.encode(["a"])
    assert ours is not None
    assert np.abs(ours - at_first).max() > 1e-3
    np.testing.assert_allclose(ours, chain.encode([zoo.LONG_SENTENCE]), atol=1e-5)
