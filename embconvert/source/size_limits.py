"""A bound on what the libraries build of a model's settings, by what its files hold.

Dozens of settings in a dozen files are sizes and counts, and each makes a library allocate before
it looks at the weights. Whatever their names are, they end as modules and parameters.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from embconvert.errors import SourceError
from embconvert.models.values import ResolvedModel
from embconvert.source.weights import count_tensors

# A weight is registered as it is planned and as it is loaded, and once more where it is tied. What
# the files lack and no graph needs, as a pooler or a head, comes on top.
_TIMES = 4
_MORE_NUMBERS = 1 << 28
# Modules without weights, as dropout, are a third of all.
_TIMES_PARTS = 20
_MORE_PARTS = 20_000


@contextlib.contextmanager
def refusing_absurd_modules(resolved: ResolvedModel) -> Iterator[None]:
    """Ends the building of a model that grows far beyond its files.

    Args:
        resolved: The model.

    Raises:
        SourceError: It does.
    """
    from torch.nn.modules import module as registry

    weights = [f.path for f in resolved.files if f.path.endswith(".safetensors")]
    tensors = sum(count_tensors(resolved.folder / path) for path in weights)
    most_numbers = _TIMES * resolved.parameters + _MORE_NUMBERS
    most_parts = _TIMES_PARTS * tensors + _MORE_PARTS
    numbers, parts = 0, 0

    def too_much() -> SourceError | None:
        what = None
        if numbers > most_numbers:
            what = f"of more than {numbers:.3g} numbers, and its weights are {resolved.parameters}"
        elif parts > most_parts:
            what = f"of more than {parts} parts, and its weights are {tensors}"
        if what is None:
            return None
        return SourceError(
            f"the model's settings ask for a network {what}",
            "a size or a count in config.json, or in the config.json of a module's folder, is "
            "damaged, or of another model; download it again",
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
        # The libraries wrap what is raised in them, or try another way.
        if not isinstance(error, SourceError) and (real := too_much()) is not None:
            raise real from error
        raise
    finally:
        for hook in hooks:
            hook.remove()
