"""Runs many batches through a model layer by layer.

Each batch runs in its own thread, one thread at a time; before each layer it waits for the others.
So a layer's weights are read, and cast, once for all batches instead of once per batch; if the
weights exceed the memory, each read would come from the disk.

They also wait for each other at each linear module, which multiplies them as rows of one matrix: a
product with few rows spends its time on the weights. The results differ only by rounding.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from embconvert.overriding import override

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Multiplication = Callable[["torch.Tensor"], "torch.Tensor"]

# More rows would not make a product faster, and waiting batches need memory.
_ROWS = 1024


def layers_of(model: "torch.nn.Module") -> "list[torch.nn.Module]":
    """Returns the layers of a model: the members of its outermost module lists."""
    import torch

    found: list[torch.nn.Module] = []
    for child in model.children():
        found += child if isinstance(child, torch.nn.ModuleList) else layers_of(child)
    return found


def run_in_lockstep(
    calls: Sequence[Callable[[], T]],
    model: "torch.nn.Module",
    after_layer: Callable[[], None],
    *,
    enough_rows: int = _ROWS,
) -> list[T]:
    """Runs calls that each run the model; each waits for the others before every layer.

    To benefit, they must use the same layers in the same order. When all have passed a layer,
    `after_layer` is called. After `enough_rows`, no more batches join in a product.
    """
    batches = [_Batch(call) for call in calls]
    try:
        with _waiting(model):
            while unfinished := [batch for batch in batches if batch.is_unfinished]:
                while unfinished:
                    _go_on_together(_few(unfinished, enough_rows))
                after_layer()
    finally:
        for batch in batches:
            batch.abandon()
    return [batch.result for batch in batches]


@contextlib.contextmanager
def _waiting(model: "torch.nn.Module") -> Iterator[None]:
    """Makes batches wait before each layer of a model and at its linear modules."""
    import torch

    hooks = [layer.register_forward_pre_hook(_wait_for_others) for layer in layers_of(model)]
    # Subclasses may do more than multiply.
    linear = [module for module in model.modules() if type(module) is torch.nn.Linear]
    for module in linear:
        module.forward = partial(_multiply_with_others, module.forward)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in linear:
            del module.forward


def _wait_for_others(*_: Any) -> None:
    batch = threading.current_thread()
    if isinstance(batch, _Batch):
        batch.pause()


def _multiply_with_others(forward: Multiplication, rows: "torch.Tensor") -> "torch.Tensor":
    batch = threading.current_thread()
    if isinstance(batch, _Batch) and rows.dim() > 1:
        return batch.multiply(forward, rows)
    return forward(rows)


def _few(batches: "list[_Batch]", enough_rows: int) -> "list[_Batch]":
    """Resumes batches, taken off the list, until they have enough rows for a product."""
    few, rows = [], 0
    while batches and rows < enough_rows:
        few.append(batches.pop(0))
        few[-1].go_on()
        rows += few[-1].rows
    return few


def _go_on_together(batches: "Sequence[_Batch]") -> None:
    """Resumes batches until none waits for a product."""
    while asking := [batch for batch in batches if batch.wants is not None]:
        by_product: dict[Multiplication, list[_Batch]] = {}
        for batch in asking:
            assert batch.wants is not None
            by_product.setdefault(batch.wants, []).append(batch)
        for product, together in by_product.items():
            made = _multiply(product, [batch.values for batch in together])
            for batch, values in zip(together, made, strict=True):
                batch.values = values
        for batch in asking:
            batch.go_on()


def _multiply(product: Multiplication, values: "Sequence[torch.Tensor]") -> "list[torch.Tensor]":
    """Applies a product to several values, (..., channels), at once."""
    import torch

    rows = [value.flatten(0, -2) for value in values]
    with torch.no_grad():
        made = product(torch.cat(rows)).split([len(part) for part in rows])
    return [part.unflatten(0, v.shape[:-1]) for part, v in zip(made, values, strict=True)]


class _Abandoned(BaseException):
    """Ends a thread whose result is no longer needed."""


class _Batch(threading.Thread):
    """A call that can be run up to the next layer or product.

    Attributes:
        wants: The product that it waits for; None if it waits for the next layer.
        values: The factor, then the result.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._may_run = threading.Semaphore(0)
        self._has_paused = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._abandoned = False
        self.wants: Multiplication | None = None
        self.values: Any = None
        self.is_unfinished = True
        self.result: Any = None

    @property
    def rows(self) -> int:
        """Number of rows to multiply."""
        return 0 if self.wants is None else int(self.values.shape[:-1].numel())

    def go_on(self) -> None:
        """Runs up to the next layer or product, or to the end; raises what the call raised."""
        self.wants = None
        if self.ident is None:
            self.start()
        self._may_run.release()
        self._has_paused.acquire()
        if self._error is not None:
            raise self._error

    def multiply(self, product: Multiplication, values: "torch.Tensor") -> "torch.Tensor":
        """Waits for the result of a product; called by the thread itself."""
        self.wants, self.values = product, values
        self.pause()
        made: torch.Tensor = self.values
        self.values = None
        return made

    def pause(self) -> None:
        """Waits for go_on(); called by the thread itself."""
        self._has_paused.release()
        self._may_run.acquire()
        if self._abandoned:
            raise _Abandoned

    def abandon(self) -> None:
        """Ends the thread if it waits."""
        if self.ident is not None and self.is_unfinished:
            self._abandoned = True
            self._may_run.release()
            self.join()

    @override
    def run(self) -> None:
        self._may_run.acquire()
        try:
            self.result = self._call()
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in go_on()
            self._error = error
        self.is_unfinished = False
        self._has_paused.release()
