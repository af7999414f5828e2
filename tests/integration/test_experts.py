"""A mixture of experts becomes plain operators, with a matrix for each expert.

Its every stage is in test_architectures.py, as of the other architectures.
"""

import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from embconvert.export.experts import one_expert_at_a_time
from embconvert.export.traced_weights import bind_weights
from support import zoo
from support.all_architectures import build
from support.command_line import embconvert
from support.exports import assert_same_as_torch, export, load
from support.rewriting import parse

pytestmark = pytest.mark.integration

#: Loops of their own: matrices below each other, sorted tokens, experts that return what they get,
#: one expert or none.
OTHERS = ("dbrx", "jetmoe", "longcat_flash", "switch_transformers", "openai_privacy_filter")
QUANTIZED = re.compile(r"layers\.\d\.mlp\.experts\.(gate_up|down)_proj\.\d(\.\d)?_\w*quantized")


@pytest.mark.parametrize(
    "model_type",
    [
        "gpt_oss",  # transposed weights with biases, gates between them, and a clamp
        "glm4_moe",  # the first layers have no experts, the others a shared one, chosen in groups
        "qwen2_moe",  # a shared expert, in float32 whatever the rest has
        # once a week:
        *(OTHERS if "EMBCONVERT_ALL_ARCHITECTURES" in os.environ else ()),
    ],
)
def test_unseen_shapes_give_the_embeddings_of_torch(model_type: str, tmp_path: Path) -> None:
    model = build(model_type, tmp_path / "model", gain=1.5)
    assert model is not None
    graph = export(load(model), tmp_path / "model.onnx")
    assert_same_as_torch(model, graph)
    stored = onnx.load(graph, load_external_data=False).graph.initializer
    assert not [tensor.name for tensor in stored if len(tensor.dims) == 3]


def test_a_text_that_leaves_experts_idle_and_their_weights_quantized(tmp_path: Path) -> None:
    """One token goes to two of eight experts: the others multiply nothing."""
    model = zoo.build_model(
        "mixtral", tmp_path / "model", overrides={"num_local_experts": 8}, dtype="bfloat16"
    )
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out", "--quantize",
        "Q4,Q8,QInt8,QInt8Static", "--min_cosine", 0.9, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert "not fused" not in outcome.stderr
    for file in (tmp_path / "out/model/onnx").glob("*_Q*.onnx"):
        names = [t.name for t in onnx.load(file, load_external_data=False).graph.initializer]
        quantized = [name for name in names if QUANTIZED.fullmatch(name)]
        assert len(quantized) == 2 * 8 * 3, file.name  # layers, experts, matrices of each


class NomicExperts(torch.nn.Module):  # type: ignore[misc]
    """The experts of nomic-embed-text-v2-moe, whose code is in a repository of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.moe_num_experts = 4
        self.mlp = torch.nn.Module()
        self.mlp.w1 = torch.nn.Parameter(torch.randn(4 * 6, 8))
        self.mlp.w2 = torch.nn.Parameter(torch.randn(4 * 6, 8))
        self.mlp.activation_fn = torch.nn.GELU()
        self.bias = torch.nn.Parameter(torch.randn(8))

    def forward(
        self, x: torch.Tensor, _: torch.Tensor, top_weights: torch.Tensor, top: torch.Tensor
    ) -> torch.Tensor:
        rows, first, second = (
            x.reshape(-1, 8),
            *(w.view(4, 6, 8) for w in (self.mlp.w1, self.mlp.w2)),
        )
        out = [
            sum(
                w * (self.mlp.activation_fn(row @ first[e].t()) @ second[e])
                for w, e in zip(ws, es, strict=True)
            )
            for row, ws, es in zip(rows, top_weights, top.tolist(), strict=True)
        ]
        return torch.stack(out).reshape(x.shape) + self.bias


class Mixture(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.router = torch.nn.Linear(8, 4, bias=False)
        self.experts = NomicExperts()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.router(x.reshape(-1, 8)).softmax(-1)
        mixed: torch.Tensor = self.experts(x, weights, *weights.topk(2))
        return mixed


def test_experts_in_the_loop_of_remote_code_are_traced_one_by_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mixture, graph = Mixture(), tmp_path / "model.onnx"
    with one_expert_at_a_time(mixture), torch.no_grad():
        torch.onnx.export(
            mixture, (torch.randn(2, 3, 8),), graph, dynamo=False, opset_version=17,
            input_names=["x"], dynamic_axes={"x": {0: "batch", 1: "seq"}},
        )  # fmt: skip
    sizes = [n for n in onnx.load(graph).graph.node if n.op_type == "Shape"]
    assert not [n.input for n in sizes if ".w1" in n.input[0]], "the matrices' sizes are numbers"
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 1, 8), (3, 7, 8)):
        x = torch.randn(shape)
        (found,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(found, mixture(x).detach().numpy(), atol=1e-5)


def test_matrices_below_each_other_become_weights_of_their_own() -> None:
    model = parse(
        """g (float[batch, 4] x, float[6, 4] w) => (float[batch, 3] y) {
            sizes = Constant<value = int64[3] {2, 3, 4}>() all = Reshape(w, sizes)
            one = Constant<value = int64 {1}>() part = Gather(all, one)
            t = Transpose(part) y = MatMul(x, t)
        }"""
    )
    weight = torch.arange(24.0).reshape(6, 4)
    assert bind_weights(model, {"w": weight}, []) == ["w"]
    (part,) = [v.const_value for v in model.graph.initializers.values() if v.uses()]
    assert part is not None
    np.testing.assert_array_equal(part.numpy(), weight[3:].numpy())
