"""Limits what the libraries build from a model's settings to the size of its files.

Dozens of settings are sizes and counts for which a library allocates memory before it reads
weights. All of them result in modules and parameters, which are counted here.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from embconvert.errors import SourceError
from embconvert.models.values import ResolvedModel
from embconvert.source.weights import count_parameters, count_tensors, is_weights

# A weight is registered when it is planned, when it is loaded, and again if it is tied. Weights
# that are not in the files and not needed, such as a pooler or a head, are additional.
_TIMES = 4
_MORE_NUMBERS = 1 << 28
# A third of all modules have no weights, such as dropout.
_TIMES_PARTS = 20
_MORE_PARTS = 20_000


@contextlib.contextmanager
def refusing_absurd_modules(resolved: ResolvedModel) -> Iterator[None]:
    """Raises SourceError if the model that is built becomes far larger than its files."""
    from torch.nn.modules import module as registry

    weights = [resolved.path(f.path) for f in resolved.files if is_weights(f.path)]
    tensors = sum(map(count_tensors, weights))
    parameters = sum(map(count_parameters, weights))
    most_numbers = _TIMES * parameters + _MORE_NUMBERS
    most_parts = _TIMES_PARTS * tensors + _MORE_PARTS
    numbers, parts = 0, 0

    def too_much() -> SourceError | None:
        what = None
        if numbers > most_numbers:
            what = f"with more than {numbers:.3g} numbers, but it has only {parameters} weights"
        elif parts > most_parts:
            what = f"with more than {parts} parts, but it has only {tensors} tensors"
        if what is None:
            return None
        return SourceError(
            f"the model's settings ask for a network {what}",
            "a size or a count in config.json (or in that of a module's folder) is damaged or "
            "belongs to another model; download it again",
        )

    def count(_module: Any, _name: str, value: Any) -> None:
        nonlocal numbers, parts
        parts += 1
        numbers += value.numel() if hasattr(value, "numel") else 0
        if (error := too_much()) is not None:
            raise error

    hooks = [
        registry.register_module_parameter_registration_hook(count),
        registry.register_module_buffer_registration_hook(count),
        registry.register_module_module_registration_hook(count),
    ]
    try:
        yield
    except Exception as error:
        # The libraries wrap the error, or try another method.
        if not isinstance(error, SourceError) and (real := too_much()) is not None:
            raise real from error
        raise
    finally:
        for hook in hooks:
            hook.remove()
