"""Operators that torch's tracing exporter gets wrong come out right, on shapes it never saw."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from embconvert.export.data_sizes import traced_minimum
from embconvert.export.operators import traceable_operators
from support.all_architectures import build
from support.exports import assert_same_as_torch, export, load

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("model_type", ["cohere", "helium"])
def test_repeated_rotary_embeddings_leave_the_axes_of_other_operators(
    model_type: str, tmp_path: Path
) -> None:
    model = build(model_type, tmp_path / "model", gain=1.5)
    assert model is not None
    assert_same_as_torch(model, export(load(model), tmp_path / "model.onnx"))


def test_axes_of_a_permutation_may_be_counted_from_the_end(tmp_path: Path) -> None:
    class Permuted(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, -1, -2, 1) + torch.permute(x, (0, -1, -2, -3))

    graph = tmp_path / "model.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch", 1: "seq"}}}
    with traceable_operators():
        torch.onnx.export(Permuted(), (torch.ones(2, 3, 4, 5),), graph, dynamo=False, **names)
    x = torch.rand(3, 7, 4, 5)
    (found,) = onnxruntime.InferenceSession(graph).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(found, Permuted()(x).numpy())


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.repeat_interleave(input=x, repeats=2, dim=-1),
        lambda x: torch.repeat_interleave(x, dim=-1, repeats=2),
        lambda x: torch.repeat_interleave(x, 2, -1, output_size=4),
        lambda x: torch.repeat_interleave(x[0].long()),
        lambda x: torch.permute(input=x, dims=(-1, 0)),
        lambda x: x.permute(dims=[-1, 0]),
    ],
)
def test_arguments_may_be_named_or_left_out(call: Callable[..., Any]) -> None:
    class Called(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = call(x)
            return found

    x = torch.arange(4.0).reshape(2, 2)
    with traceable_operators():
        traced = torch.jit.trace(Called(), (x,), check_trace=False)
    assert torch.equal(traced(x), call(x))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.expm1() + torch.special.expm1(x),
        lambda x: (x > 0).cumsum(1),
        lambda x: (x > 0).scatter(1, (x > 1).long(), True),
        lambda x: (x > 0).long() | (x > 1),
        lambda x: (x > 0).int() & (x > -1).long(),
        lambda x: torch.view_as_real(torch.polar(x.exp(), x)[:, None, :] * 0.5).flatten(2),
        lambda x: torch.view_as_real(
            torch.view_as_complex(torch.stack((x, x * x), -1)) * torch.polar(x, x).unsqueeze(0)
        ),
        lambda x: torch.rms_norm(x[..., None].expand(-1, -1, 3), (3,), torch.arange(3.0), 1e-3),
        lambda x: torch.nn.functional.rms_norm(x[:, :3, None] * torch.arange(4.0), (3, 4)),
        lambda x: x.unfold(-1, 3, 1) + x.unfold(1, 3, 1),
        lambda x: torch.stack((x, x * x), 2).unfold(1, 2, 2),
        lambda x: torch.fft.fftn(x, dim=(0, 1)).real + torch.fft.fftn(x, dim=(-1,)).imag,
        lambda x: (x[0] + 1).scatter_reduce(
            0, torch.tensor([1, 1, 0]), x[0, :3], "mean", include_self=False
        ),
        lambda x: torch.scatter_reduce(
            x + 1, dim=1, index=(x > 0).long(), src=x, reduce="sum", include_self=False
        ),
        lambda x: ((x * 1e15).long() ^ (x.flip(1) * -3e15).long()) % 1009,
        lambda x: torch.bitwise_xor((x * 9).int(), x.int()) + ((x > 0) ^ (x > 1)),
        lambda x: (x * 9).int() ^ (x * 9e12).long() ^ 5 ^ (x > 0),
        lambda x: (x.abs() * 80).to(torch.uint8) ^ 170,
        lambda x: (x > 0) ^ True,
        lambda x: torch.cummax(x * x.flip(1), 1).values + x.long().cummax(dim=0).values,
        lambda x: x.new_zeros(x[..., None].repeat(1, 1, 6).unflatten(-1, (2, 3)).flatten(1).shape),
        lambda x: x[0].index_add(0, torch.tensor([1, 1, 0]), x[0, :3]),
        lambda x: x.index_add(1, torch.tensor([1, -1 % 3]), x[:, :2], alpha=2),
    ],
)
def test_operators_that_the_exporter_lacks_are_expressed_by_others(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    class Called(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = call(x)
            return found

    graph = tmp_path / "model.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch", 1: "seq"}}}
    with traceable_operators():
        torch.onnx.export(
            Called(), (torch.linspace(-2, 2, 8).reshape(2, 4),), graph, dynamo=False,
            opset_version=17, **names,
        )  # fmt: skip
    for shape in ((3, 5), (1, 3)):
        x = torch.linspace(-3, 3, math.prod(shape)).reshape(shape)
        (found,) = onnxruntime.InferenceSession(graph).run(None, {"x": x.numpy()})
        wanted = call(x)
        assert found.dtype == wanted.numpy().dtype
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("limit", [3, 6])
def test_an_index_takes_no_more_than_a_text_has_and_no_more_than_its_limit(
    limit: int, tmp_path: Path
) -> None:
    """The traced text is longer than one limit, and shorter than the other."""

    class Indexed(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            best = x.topk(min(limit, x.shape[1])).values
            least = torch.topk(x, k=min(x.shape[1], limit), dim=-1, largest=False)[0]
            return torch.cat((best, least), dim=-1)

    graph, model = tmp_path / "model.onnx", Indexed()
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch", 1: "seq"}}}
    with traceable_operators(), traced_minimum(model):
        torch.onnx.export(model, (torch.rand(2, 4),), graph, dynamo=False, **names)
    assert "min" not in globals()
    for shape in ((3, 5), (1, 2), (2, 9)):
        x = torch.rand(shape)
        (found,) = onnxruntime.InferenceSession(graph).run(None, {"x": x.numpy()})
        np.testing.assert_array_equal(found, model(x).numpy())


def test_more_keys_than_an_index_takes_are_left_out_as_the_model_does(tmp_path: Path) -> None:
    """The traced text has fewer tokens than the index takes, and later texts have more."""
    # Scores of many heads are hardly ever equal, which would be decided at random.
    settings = {"index_topk": 90, "index_n_heads": 32}
    model = build("deepseek_v32", tmp_path / "model", gain=1.5, **settings)
    assert model is not None
    graph = export(load(model), tmp_path / "model.onnx")
    assert_same_as_torch(model, graph, [(1, 89, 0), (2, 91, 0), (3, 120, 20)])


@pytest.mark.parametrize("split", [torch.split, torch.Tensor.split])
def test_a_split_by_counts_is_right_for_other_counts(
    split: Callable[..., Any], tmp_path: Path
) -> None:
    """As of tokens by the experts that they are routed to."""

    class Counted(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            counts = torch.stack(((x > 0).sum(), (x <= 0).sum())).tolist()
            above, below = split(x.sort().values.flip(0), counts, dim=0)
            return torch.cat((above, below - 1))

    graph = tmp_path / "model.onnx"
    with traceable_operators():
        torch.onnx.export(
            Counted(), (torch.tensor([1.0, -2, -3]),), graph, dynamo=False, opset_version=17,
            input_names=["x"], dynamic_axes={"x": {0: "seq"}},
        )  # fmt: skip
    for numbers in ([1.0, 2, -3, 4], [-1.0], [1.0]):
        (found,) = onnxruntime.InferenceSession(graph).run(
            None, {"x": np.array(numbers, np.float32)}
        )
        np.testing.assert_array_equal(found, Counted()(torch.tensor(numbers)).numpy())


def test_bits_of_other_integers_are_left_to_the_exporter() -> None:
    class Bits(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.long() | 4 * x.long()

    x = torch.tensor([[1.0, 2.0]])
    with traceable_operators():
        traced = torch.jit.trace(Bits(), (x,), check_trace=False)
    assert torch.equal(traced(x), Bits()(x))


def test_a_replaced_operator_takes_its_tensor_by_name() -> None:
    class Named(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (
                torch.squeeze(input=x, dim=-1),
                torch.cumsum(input=x > 0, dim=1),
                torch.permute(input=x, dims=(-1, 0, 1)),
                torch.repeat_interleave(input=x, repeats=2, dim=-1),
                torch.as_strided(input=x, size=(2, 2), stride=(2, 1)),
            )

    x = torch.arange(6.0).reshape(3, 2, 1)
    with traceable_operators():
        traced = torch.jit.trace(Named(), (x,), check_trace=False)
    for found, wanted in zip(traced(x), Named()(x), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("model_type", "recurrences"),
    [
        ("llama4_text", 0),  # complex numbers
        ("mamba", 2),
        ("kimi_linear", 1),  # a decay for each channel, and experts
        ("qwen3_next", 1),  # heads of values share keys
        ("recurrent_gemma", 1),
        ("rwkv", 2),
        ("xlstm", 2),
        ("minimax", 0),  # as attention without a softmax
    ],
)
def test_recurrences_give_the_embeddings_of_torch(
    model_type: str, recurrences: int, tmp_path: Path
) -> None:
    """The last text is longer than the chunks of 64 tokens in which transformers computes them."""
    model = build(model_type, tmp_path / "model", gain=1.5)
    assert model is not None
    graph = export(load(model), tmp_path / "model.onnx")
    assert_same_as_torch(model, graph, [(1, 1, 0), (3, 23, 4), (2, 100, 30)])
    found = [node.op_type for node in onnx.load(graph, load_external_data=False).graph.node]
    assert found.count("Scan") == recurrences


def test_tokens_that_a_model_counts_in_python_are_counted_by_the_graph(tmp_path: Path) -> None:
    """cpmant hides padding by places that it has as a list of Python's numbers."""
    from transformers import CpmAntModel

    own = CpmAntModel._prepare_attention_mask
    model = build("cpmant", tmp_path / "model", gain=1.5)
    assert model is not None
    graph = export(load(model), tmp_path / "model.onnx")
    assert CpmAntModel._prepare_attention_mask is own
    shapes = [(1, 1, 0), (1, 2, 0), (2, 3, 1), (3, 23, 4), (4, 16, 15), (2, 100, 20)]
    assert_same_as_torch(model, graph, shapes)


def test_blocks_of_keys_are_selected_by_the_graph(tmp_path: Path) -> None:
    """qwen4_exp does it in a loop over texts and tokens; it also hashes neighbouring tokens."""
    model = build("qwen4_exp_text", tmp_path / "model", gain=1.5)
    assert model is not None
    graph = export(load(model), tmp_path / "model.onnx")
    assert_same_as_torch(model, graph, [(1, 1, 0), (3, 23, 4), (2, 100, 30)])


def test_texts_shorter_and_longer_than_a_window_of_tokens(tmp_path: Path) -> None:
    """deepseek_v4 makes one of so many tokens; the traced text has fewer."""
    from sentence_transformers import SentenceTransformer

    windows = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 24}
    model = build("deepseek_v4", tmp_path / "model", gain=1.5, compress_rates=windows)
    assert model is not None
    source = load(model)
    graph = export(source, tmp_path / "model.onnx")
    assert_same_as_torch(model, graph, [(1, 1, 0), (3, 23, 4), (1, 24, 0), (2, 59, 30)])
    chain = SentenceTransformer(str(model), device="cpu")
    for text in ("", "a short text"):
        (ours,) = np.asarray(source.encode([[text]])[0].sentence)
        np.testing.assert_allclose(ours, chain.encode(text), atol=1e-5)


def test_tokens_that_a_model_pools_keep_their_places(tmp_path: Path) -> None:
    """funnel counts them in Python; with three blocks, it needs five of them."""
    model = build("funnel", tmp_path / "model", gain=1.5)
    assert model is not None
    graph = export(load(model), tmp_path / "model.onnx")
    assert_same_as_torch(model, graph, [(1, 3, 0), (3, 6, 1), (3, 23, 4), (2, 100, 20)])
