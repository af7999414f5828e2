"""Running many batches through a model layer by layer.

Each batch runs in a thread of its own, one thread at a time; before each layer it waits until the
others have come as far. So a layer's weights are read, and cast, once for all batches instead of
once for each: with less memory than weights, each of those times would come from the disk.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def layers_of(model: "torch.nn.Module") -> "list[torch.nn.Module]":
    """Returns the layers of a model: the members of its outermost lists of modules."""
    import torch

    found: list[torch.nn.Module] = []
    for child in model.children():
        found += child if isinstance(child, torch.nn.ModuleList) else layers_of(child)
    return found


def run_in_lockstep(
    calls: Sequence[Callable[[], T]],
    layers: "Iterable[torch.nn.Module]",
    after_layer: Callable[[], None],
) -> list[T]:
    """Makes calls that run a model, each waiting for the others before every layer.

    Args:
        calls: They must go through the same layers in the same order to profit.
        layers: Of the model.
        after_layer: Called when all have gone through a layer.

    Returns:
        Their results, in order.
    """
    threads: list[_Batch] = [_Batch(call) for call in calls]
    hooks = [layer.register_forward_pre_hook(_wait_for_others) for layer in layers]
    try:
        while any(thread.is_unfinished for thread in threads):
            for thread in threads:
                if thread.is_unfinished:
                    thread.go_on()
            after_layer()
    finally:
        for hook in hooks:
            hook.remove()
        for thread in threads:
            thread.abandon()
    return [thread.result for thread in threads]


def _wait_for_others(*_: Any) -> None:
    thread = threading.current_thread()
    if isinstance(thread, _Batch):
        thread.pause()


class _Abandoned(BaseException):
    """Ends a thread whose result nobody waits for any more."""


class _Batch(threading.Thread):
    """A call that can be run a layer at a time."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._may_run = threading.Semaphore(0)
        self._has_paused = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._abandoned = False
        self.is_unfinished = True
        self.result: Any = None

    def go_on(self) -> None:
        """Runs it up to the next layer, or to its end.

        Raises:
            BaseException: The call raised it.
        """
        if self.ident is None:
            self.start()
        self._may_run.release()
        self._has_paused.acquire()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Waits for go_on(); called by the thread itself."""
        self._has_paused.release()
        self._may_run.acquire()
        if self._abandoned:
            raise _Abandoned

    def abandon(self) -> None:
        """Ends it if it waits somewhere."""
        if self.ident is not None and self.is_unfinished:
            self._abandoned = True
            self._may_run.release()
            self.join()

    def run(self) -> None:
        self._may_run.acquire()
        try:
            self.result = self._call()
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        self.is_unfinished = False
        self._has_paused.release()
