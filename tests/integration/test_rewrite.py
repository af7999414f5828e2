"""Every attention of every architecture is fused, or said to be left; the numbers stay the same."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from embconvert.graph.onnx_file import read_artifact, read_model
from embconvert.models.choices import OptimizationLevel
from embconvert.models.values import OptimizedModel
from embconvert.rewrite import rewrite, rules_for
from embconvert.rewrite.optimizer import Optimizer, optimize
from embconvert.rewrite.standard import FORMS
from support import zoo
from support.all_architectures import build
from support.exports import assert_same_as_torch, export, load, random_feed

pytestmark = pytest.mark.integration

# Attentions of each architecture, of as many layers; a rule that stops matching fails here.
ATTENTIONS = dict.fromkeys(zoo.ARCHITECTURES, 2) | {"lfm2": 1, "modernbert": 3}
ROTARY = {
    "eurobert", "gemma", "gemma2", "gemma3_text", "gte", "jina_embeddings_v3", "lfm2", "llama",
    "mistral", "mixtral", "modernbert", "nomic_bert", "phi3", "qwen2", "qwen3",
}  # fmt: skip
#: Architectures whose operators, taken together, have every standard form.
STANDARD = {"bert", "deberta-v2", "gemma2", "gemma3_text", "mixtral", "modernbert", "mt5"}
# (batch, tokens, most padding); none is the shape of the trace.
SHAPES = [(1, 5, 0), (3, 23, 4), (2, 41, 9), (5, 64, 30), (1, 64, 0), (4, 16, 15)]


@pytest.mark.parametrize("architecture", zoo.ARCHITECTURES)
def test_every_attention_is_fused(architecture: str, tmp_path: Path) -> None:
    source = zoo.build_model(architecture, tmp_path / "model")
    exporter, opset = ("torch.export", 18) if architecture == "gemma3_text" else ("trace", 17)
    plain = export(load(source), tmp_path / "model.onnx", opset=opset, exporter=exporter)
    for level in (OptimizationLevel.BASIC, OptimizationLevel.EXTENDED, OptimizationLevel.ALL):
        made = run_optimizer(plain, tmp_path / f"opt{int(level)}.onnx", level)
        by_kind = {fusion.kind: fusion for fusion in made.fusions}
        attention = by_kind["attention"]
        assert_same(plain, made.artifact.path)
        assert attention.fused == ATTENTIONS[architecture]
        assert all(not fusion.left for fusion in made.fusions)
        assert by_kind.get("rotary embedding", attention).fused == (
            2 * ATTENTIONS[architecture] if architecture in ROTARY else attention.fused
        )
    if architecture in STANDARD:
        made = run_optimizer(plain, tmp_path / "standard.onnx", replaced=tuple(FORMS))
        assert set(read_model(made.artifact.path).opset_imports) == {""}
        assert not set(made.artifact.operators) & set(FORMS)
        assert (made.artifact.opset, made.artifact.min_onnxruntime) == (opset, "1.15")
        assert_same(plain, made.artifact.path)
    assert_at_rest(tmp_path / "opt1.onnx", OptimizationLevel.BASIC)
    assert_at_rest(tmp_path / "opt2.onnx", OptimizationLevel.EXTENDED)


def test_scores_that_are_selected_by_a_product_are_fused(tmp_path: Path) -> None:
    """As in OpenAI's first model: `scores * mask + -1e4 * (1 - mask)`."""
    source = build("openai-gpt", tmp_path / "model", gain=1.5)
    assert source is not None
    plain = export(load(source), tmp_path / "model.onnx")
    made = run_optimizer(plain, tmp_path / "opt1.onnx", OptimizationLevel.BASIC)
    (attention,) = (fusion for fusion in made.fusions if fusion.kind == "attention")
    assert (attention.found, attention.fused) == (2, 2)
    assert_same_as_torch(source, made.artifact.path)
    assert_at_rest(made.artifact.path, OptimizationLevel.BASIC)


def test_windows_longer_than_the_traced_text_are_fused(tmp_path: Path) -> None:
    """As longformer's own, of 512 tokens: the text of the trace is padded to one of them."""
    source = zoo.build_model(
        "longformer", tmp_path / "model", overrides={"attention_window": [32, 32]}
    )
    plain = export(load(source), tmp_path / "model.onnx", opset=17, exporter="trace")
    made = run_optimizer(plain, tmp_path / "opt1.onnx", OptimizationLevel.BASIC)
    (attention,) = (fusion for fusion in made.fusions if fusion.kind == "attention")
    assert (attention.found, attention.fused) == (2, 2)
    for path in (plain, made.artifact.path):
        assert_same_as_torch(source, path)


def run_optimizer(
    plain: Path,
    path: Path,
    level: OptimizationLevel = OptimizationLevel.BASIC,
    replaced: tuple[str, ...] = (),
) -> OptimizedModel:
    return optimize(
        read_artifact(plain),
        path,
        level=level,
        optimizer=Optimizer.FUSION,
        skip_shape_inference=False,
        work=path.parent,
        replaced=replaced,
    )


def assert_same(plain: Path, fused: Path) -> None:
    """On shapes that were not traced, padded on either side, without padding and with nothing else.

    The vectors of tokens are compared where there is a token; of a row without any, that they
    are numbers.
    """
    graphs = [onnxruntime.InferenceSession(str(path)) for path in (plain, fused)]
    random = np.random.default_rng(0)
    for batch, tokens, padding in SHAPES:
        for left in (False, True):
            feed = random_feed(random, batch, tokens, padding, left=left)
            if batch > 2:  # a row of nothing but padding
                feed["attention_mask"][-1] = 0
                feed["input_ids"][-1] = zoo.PAD_ID
            theirs, ours = (
                graph.run(None, {i.name: feed[i.name] for i in graph.get_inputs()})
                for graph in graphs
            )
            real = feed["attention_mask"][:, :, None]
            where = f"{fused.name}, {batch}x{tokens}, {'left' if left else 'right'} padding"
            assert np.isfinite(ours[0]).all(), where
            np.testing.assert_allclose(ours[0] * real, theirs[0] * real, atol=1e-4, err_msg=where)
            np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5, err_msg=where)


def assert_at_rest(path: Path, level: OptimizationLevel) -> None:
    """Optimizing a second time changes nothing."""
    model = read_model(path)
    before = describe(model)
    rewrite(model, rules_for(level, fuse=True))
    assert describe(model) == before


def describe(model: Any) -> Counter[str]:
    return Counter(
        f"{node.op_type} {[v.name if v else '' for v in node.inputs]} {node.outputs[0].name}"
        for node in model.graph
    )
