"""Batches go through a model layer by layer, one at a time."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from embconvert.source.lockstep import run_in_lockstep


class Layer:
    """Calls its hooks as torch.nn.Module does."""

    def __init__(self) -> None:
        self.hooks: list[Callable[..., Any]] = []

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> "Layer":
        self.hooks.append(hook)
        return self

    def remove(self) -> None:
        self.hooks.pop()

    def __call__(self) -> None:
        for hook in self.hooks:
            hook(self, ())


def run(calls: list[Callable[[], Any]], layers: list[Layer], trace: list[str]) -> list[Any]:
    return run_in_lockstep(calls, layers, lambda: trace.append("|"))


def model(name: str, layers: list[Layer], trace: list[str]) -> Callable[[], str]:
    def call() -> str:
        for number, layer in enumerate(layers):
            layer()
            trace.append(f"{name}{number}")
        return name.upper()

    return call


def test_all_batches_leave_a_layer_before_one_enters_the_next() -> None:
    layers, trace = [Layer(), Layer()], list[str]()
    results = run([model(name, layers, trace) for name in "abc"], layers, trace)
    assert results == ["A", "B", "C"]
    assert trace == ["|", "a0", "b0", "c0", "|", "a1", "b1", "c1", "|"]


def test_a_batch_with_fewer_layers_ends_earlier() -> None:
    layers, trace = [Layer(), Layer()], list[str]()
    calls = [model("a", layers[:1], trace), model("b", layers, trace)]
    assert run(calls, layers, trace) == ["A", "B"]
    assert trace == ["|", "a0", "b0", "|", "b1", "|"]


def test_an_error_is_raised_and_leaves_no_thread_and_no_hook() -> None:
    layers, trace = [Layer(), Layer()], list[str]()
    before = threading.active_count()

    def fails() -> None:
        layers[0]()
        raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        run([model("a", layers, trace), fails, model("c", layers, trace)], layers, trace)
    assert threading.active_count() == before
    assert not any(layer.hooks for layer in layers)
