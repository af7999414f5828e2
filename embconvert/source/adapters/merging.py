"""Finds the weights that adapters change, and what they become.

Which weights those are is said by the names of an adapter's tensors, as PEFT writes them; the
patterns in its settings, some of them regular expressions, are not needed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.models.adapters import ADAPTER_FILE
from embconvert.models.values import ResolvedAdapter
from embconvert.source.adapters.config import rank_of, scale_of
from embconvert.source.adapters.inside import tensors_of_task
from embconvert.source.merged_weight import MergedWeight, Update
from embconvert.source.stand_ins import mapped_tensors

if TYPE_CHECKING:
    import torch

# PEFT wraps the base model twice. The name of the adapter is in files that torch wrote.
_PREFIX = re.compile(r"(base_model\.model\.)?")
_PART = re.compile(
    r"(?P<module>.+?)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector)(\.default)?(\.weight)?"
)
_WHOLE = re.compile(
    r"(?P<module>.+?)(\.modules_to_save\.default|(?P<base>\.base_layer))?"
    r"\.(?P<parameter>weight|bias)"
)
_OF_EMBEDDING = "lora_embedding_"
_PRECISIONS = ("float64", "float32", "float16", "bfloat16")
_HINT = "give the model for which the adapter was trained, and the adapter as PEFT saved it"


@dataclass
class Merged:
    """What adapters make of a model.

    Attributes:
        weights: By the parameter's id().
        replaced: Names of parameters of which an adapter has the whole value.
    """

    weights: dict[int, MergedWeight] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)


def merge_adapters(model: "torch.nn.Module | None", adapters: Sequence[ResolvedAdapter]) -> Merged:
    """Merges adapters with a transformer, one after the other.

    Whole values replace parameters in place; other weights are merged when they are used.

    Raises:
        SourceError: A tensor has another shape than the weight that it changes, or is missing.
        UnsupportedModelError: It changes what is no weight of this model, or no matrix, or nothing.
    """
    merged = Merged()
    if adapters and model is None:
        raise UnsupportedModelError(
            f"the adapter {adapters[0].record.adapter} cannot be merged: the model's first module "
            "is no transformer",
            _HINT,
        )
    for adapter in adapters:
        _Merging(model, adapter, merged).run()
    return merged


class _Merging:
    """One adapter."""

    def __init__(self, model: "torch.nn.Module", adapter: ResolvedAdapter, merged: Merged) -> None:
        self._model = model
        self._modules = dict(model.named_modules())
        self._adapter = adapter
        self._name = adapter.record.adapter
        self._merged = merged
        self._noted: set[str] = set()
        self._has_effect = False

    def run(self) -> None:
        parts: dict[str, dict[str, torch.Tensor]] = {}
        wholes: dict[tuple[str, str], torch.Tensor] = {}
        names: dict[tuple[str, str], str] = {}
        for name, tensor in _tensors(self._adapter):
            self._check_precision(name, tensor)
            short = name[_PREFIX.match(name).end() :]  # type: ignore[union-attr]
            if found := _PART.fullmatch(short):
                self._note(f"{found['module']}.{found['part']}")
                parts.setdefault(found["module"], {})[found["part"]] = tensor
            elif found := _WHOLE.fullmatch(short):
                key = (found["module"], found["parameter"])
                self._note(f"{'.'.join(key)} as a whole")
                wholes[key] = tensor
                if not found["base"]:
                    names[key] = name
            else:
                raise self._unsupported(f"its tensor {name[:200]!r} is not one of LoRA")
        if not parts and not wholes:
            raise SourceError(f"the adapter {self._name} has no tensors", _HINT)
        if wholes and self._adapter.record.weight != 1:
            raise self._unscalable("it has whole weights")
        for (module, parameter), tensor in wholes.items():
            if module in parts and (module, parameter) in names:
                old = names[module, parameter]
                raise self._unsupported(f"{old[:200]!r} has a name that PEFT no longer reads")
            self._replace(module, parameter, tensor)
        for module, tensors in parts.items():
            self._update(module, tensors)
        if not self._has_effect:
            raise self._unsupported(
                "it changes nothing: lora_alpha or all of its updates are zero, as before training"
            )

    def _module(self, name: str) -> tuple[str, Any]:
        """Returns the module of a name, and the name that it has in this model.

        As with weights of a checkpoint, a head that the model has or lacks may make a difference.
        """
        head = f"{getattr(self._model, 'base_model_prefix', '')}."
        for candidate in (name, name.removeprefix(head), head + name):
            if candidate in self._modules:
                return candidate, self._modules[candidate]
        raise self._unsupported(f"it changes {name[:200]!r}, which the model does not have")

    def _parameter(self, module: Any, name: str, parameter: str) -> "torch.nn.Parameter":
        found: torch.nn.Parameter | None = module._parameters.get(parameter)
        if found is None:
            raise self._unsupported(
                f"it changes {name[:200]}.{parameter}, which the model does not have"
            )
        owners = sum(
            found is other for m in self._modules.values() for other in m._parameters.values()
        )
        if owners > 1:
            raise self._unsupported(
                f"{name[:200]}.{parameter} is tied to another weight, which PEFT would not change"
            )
        return found

    def _replace(self, module: str, parameter: str, tensor: "torch.Tensor") -> None:
        import torch

        name, found = self._module(module)
        before = self._parameter(found, name, parameter)
        self._note(f"{name}.{parameter}")
        if id(before) in self._merged.weights or f"{name}.{parameter}" in self._merged.replaced:
            raise self._unsupported(
                f"it replaces {name[:200]}.{parameter}, which would undo an adapter before it"
            )
        self._has_effect = True
        self._check_shape(f"{name}.{parameter}", tuple(before.shape), tuple(tensor.shape))
        found._parameters[parameter] = torch.nn.Parameter(
            tensor.to(before.device), requires_grad=False
        )
        self._merged.replaced.add(f"{name}.{parameter}")

    def _update(self, module: str, tensors: "Mapping[str, torch.Tensor]") -> None:
        import torch
        from transformers.pytorch_utils import Conv1D

        name, found = self._module(module)
        is_embedding = isinstance(found, torch.nn.Embedding)
        kind = _OF_EMBEDDING if is_embedding else "lora_"
        down, up = (tensors.get(f"{kind}{letter}") for letter in "AB")
        magnitude = tensors.get("lora_magnitude_vector")
        if not isinstance(found, torch.nn.Linear | torch.nn.Embedding | Conv1D):
            raise self._unsupported(
                f"it changes {name[:200]}, which is not a Linear, Conv1D or Embedding layer but "
                f"{type(found).__name__}"
            )
        if down is None or up is None:
            lacking = " and ".join(
                f"{kind}{letter}"
                for letter, part in zip("AB", (down, up), strict=True)
                if part is None
            )
            raise SourceError(f"the adapter {self._name} has no {lacking} of {name[:200]}", _HINT)
        if others := tensors.keys() - {f"{kind}A", f"{kind}B", "lora_magnitude_vector"}:
            raise self._unsupported(
                f"it has {sorted(others)[0]} of {name[:200]}, which is not for such a layer"
            )
        is_transposed = is_embedding or isinstance(found, Conv1D)
        if (magnitude is not None) is not self._adapter.settings.has_magnitudes:
            has = "no" if magnitude is None else "a"
            said = "is" if magnitude is None else "is not"
            raise SourceError(
                f"the adapter {self._name} has {has} lora_magnitude_vector of {name[:200]}, but "
                f"use_dora {said} set in {ADAPTER_FILE}",
                _HINT,
            )
        if magnitude is not None and is_transposed:
            raise self._unsupported(
                f"it has magnitudes (DoRA) of {name[:200]}, which is not a Linear layer"
            )
        if magnitude is not None and self._adapter.record.weight != 1:
            raise self._unscalable("it has magnitudes (DoRA)")
        weight = self._parameter(found, name, "weight")
        self._check_parts(module, tuple(weight.shape), (up, down), magnitude, is_transposed)
        before = self._merged.weights.get(id(weight))
        update = Update(
            down=down.to(weight.device),
            up=up.to(weight.device),
            scale=scale_of(self._adapter.settings, module) * self._adapter.record.weight,
            is_transposed=is_transposed,
            magnitude=None if magnitude is None else magnitude.flatten().to(weight.device),
        )
        self._note(f"{name}, an update")
        if magnitude is not None or (update.scale and down.any() and up.any()):
            self._has_effect = True
        self._merged.weights[id(weight)] = MergedWeight(
            weight.detach(), (*(before.updates if before else ()), update)
        )

    def _check_parts(
        self,
        module: str,
        shape: tuple[int, ...],
        factors: "tuple[torch.Tensor, torch.Tensor]",
        magnitude: "torch.Tensor | None",
        is_transposed: bool,
    ) -> None:
        rows, columns = shape[::-1] if is_transposed else shape
        rank = rank_of(self._adapter.settings, module)
        up, down = factors
        self._check_shape(f"{module}: lora_B", (rows, rank), tuple(up.shape))
        self._check_shape(f"{module}: lora_A", (rank, columns), tuple(down.shape))
        if magnitude is not None:
            self._check_shape(
                f"{module}: lora_magnitude_vector", (rows,), tuple(magnitude.flatten().shape)
            )
        for tensor in (up, down, magnitude):
            if tensor is not None and not tensor.float().isfinite().all():
                raise SourceError(
                    f"the adapter {self._name} has values that are not finite in {module[:200]}",
                    "download the adapter again",
                )

    def _check_precision(self, name: str, tensor: "torch.Tensor") -> None:
        precision = str(tensor.dtype).removeprefix("torch.")
        if precision not in _PRECISIONS:
            raise SourceError(
                f"the adapter {self._name} has numbers of the type {precision} in {name[:200]!r}, "
                f"which is none of {', '.join(_PRECISIONS)}",
                _HINT,
            )

    def _check_shape(self, what: str, wanted: tuple[int, ...], found: tuple[int, ...]) -> None:
        if found != wanted:
            raise SourceError(
                f"the adapter {self._name} does not fit: {what[:200]} has the shape {found} "
                f"instead of {wanted}",
                _HINT,
            )

    def _note(self, what: str) -> None:
        """Notes what is changed, which the adapter's file may name in several ways."""
        if what in self._noted:
            raise SourceError(f"the adapter {self._name} has {what[:200]} twice", _HINT)
        self._noted.add(what)

    def _unscalable(self, problem: str) -> UnsupportedModelError:
        factor = f"{self._adapter.record.weight:g}"
        return UnsupportedModelError(
            f"the adapter {self._name} cannot be scaled by {factor}: {problem}",
            f"remove ={factor} from --adapter",
        )

    def _unsupported(self, problem: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"the adapter {self._name} cannot be merged: {problem}", _HINT)


def _tensors(adapter: ResolvedAdapter) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yields the tensors of an adapter by name, mapped from its file."""
    tensors = mapped_tensors([adapter.weights])
    yield from tensors.items() if adapter.place is None else tensors_of_task(adapter, tensors)
