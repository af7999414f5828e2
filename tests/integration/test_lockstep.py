"""Batches go through a model layer by layer, and through its linear modules as one matrix."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch

from embconvert.source.lockstep import run_in_lockstep

pytestmark = pytest.mark.integration


class Layer(torch.nn.Module):  # type: ignore[misc]
    """Tells which batch is in it."""

    def __init__(self, number: int, trace: list[str]) -> None:
        super().__init__()
        self._number = number
        self._trace = trace

    def forward(self, batch: str) -> None:
        self._trace.append(f"{batch}{self._number}")


def layers(count: int, trace: list[str]) -> Any:
    return torch.nn.Sequential(torch.nn.ModuleList(Layer(number, trace) for number in range(count)))


def run(
    calls: Sequence[Callable[[], Any]], model: Any, trace: list[str], **options: int
) -> list[Any]:
    return run_in_lockstep(calls, model, lambda: trace.append("|"), **options)


def go_through(model: Any, batch: str, count: int) -> str:
    for layer in model[0][:count]:
        layer(batch)
    return batch.upper()


def test_all_batches_leave_a_layer_before_one_enters_the_next() -> None:
    trace: list[str] = []
    model = layers(2, trace)
    results = run([partial(go_through, model, batch, 2) for batch in "abc"], model, trace)
    assert results == ["A", "B", "C"]
    assert trace == ["|", "a0", "b0", "c0", "|", "a1", "b1", "c1", "|"]


def test_a_batch_with_fewer_layers_ends_earlier() -> None:
    trace: list[str] = []
    model = layers(2, trace)
    calls = [partial(go_through, model, "a", 1), partial(go_through, model, "b", 2)]
    assert run(calls, model, trace) == ["A", "B"]
    assert trace == ["|", "a0", "b0", "|", "b1", "|"]


@pytest.mark.parametrize("where", ["in a layer", "in a product"])
def test_an_error_is_raised_and_leaves_no_thread_and_a_model_as_it_was(where: str) -> None:
    model: Any = TwoLinearLayers()
    before = threading.active_count()

    def fails() -> None:
        model.layers[0](torch.ones(1, 4))
        if where == "in a product":
            model.layers[1](torch.ones(1, 3))
        raise ValueError("no such token")

    calls: list[Callable[[], Any]] = [partial(model, torch.ones(1, 4))] * 2
    calls.insert(1, fails)
    message = "no such token" if where == "in a layer" else "Sizes of tensors must match"
    with pytest.raises((ValueError, RuntimeError), match=message):
        run(calls, model, [])
    assert threading.active_count() == before
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


class TwoLinearLayers(torch.nn.Module):  # type: ignore[misc]
    """A matrix of 8 rows, and one of 2 behind it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)])

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            rows = torch.nn.functional.gelu(layer(rows))
        return rows


def inference_mode(model: Any) -> Callable[[Any], Any]:
    """Returns the model as sentence-transformers' encode() calls it."""

    def call(rows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return model(rows)

    return call


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what linear modules multiply."""
    shapes: list[tuple[int, ...]] = []
    multiply = torch.nn.Linear.forward

    def noting(module: torch.nn.Linear, rows: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(rows.shape))
        return multiply(module, rows)

    monkeypatch.setattr(torch.nn.Linear, "forward", noting)
    return shapes


def test_batches_of_all_shapes_go_through_a_linear_module_at_once(
    products: list[tuple[int, ...]],
) -> None:
    model: Any = TwoLinearLayers()
    model.requires_grad_(False)
    given = [torch.randn(2, 5, 4), torch.randn(3, 4), torch.randn(1, 1, 1, 4)]
    wanted = [model(rows) for rows in given]
    products.clear()
    found = run([partial(inference_mode(model), rows) for rows in given], model, [])
    assert products == [(14, 4), (14, 8)]
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_more_rows_than_help_go_through_a_layer_in_turns(
    products: list[tuple[int, ...]],
) -> None:
    model: Any = TwoLinearLayers()
    calls = [partial(model, torch.randn(rows, 4)) for rows in (3, 3, 3, 1)]
    run(calls, model, [], enough_rows=4)
    assert products == [(6, 4), (4, 4), (6, 8), (4, 8)]


def test_a_batch_that_takes_another_way_is_not_waited_for(
    products: list[tuple[int, ...]],
) -> None:
    model: Any = TwoLinearLayers()
    narrow, wide = torch.randn(2, 4), torch.randn(3, 8)
    found = run([partial(model, narrow), partial(model.layers[1], wide)], model, [])
    torch.testing.assert_close(found[0], model(narrow))
    torch.testing.assert_close(found[1], model.layers[1](wide))
    assert products[:3] == [(2, 4), (3, 8), (2, 8)]
