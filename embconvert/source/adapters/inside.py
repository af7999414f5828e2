"""Adapters that are inside of a model's weights: one for each task, as jina-embeddings-v3 has them.

The first axis of the factors in its file (see parametrizations) is the task.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.graph.streams import hash_file
from embconvert.models.adapters import AdapterChoice
from embconvert.models.source_records import AdapterRecord, FileRecord
from embconvert.models.values import ResolvedAdapter
from embconvert.source.card import read_card
from embconvert.source.parametrizations import FACTOR
from embconvert.source.settings.own_code import OwnCode
from embconvert.source.weights import weight_files

if TYPE_CHECKING:
    import torch

#: transformers' names of the modules, by the model's own. Of queries, keys and values it has one.
_PARTS: Mapping[str, tuple[str, ...]] = {
    "mixer.Wqkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mixer.out_proj": ("self_attn.o_proj",),
    "mlp.fc1": ("mlp.fc1",),
    "mlp.fc2": ("mlp.fc2",),
}
_LAYER = re.compile(r"encoder\.(?P<layer>layers\.\d+)\.(?P<part>.+)")
_EMBEDDINGS = ("embeddings.word_embeddings", "embeddings.token_type_embeddings")
#: Of a vector that embeddings are not made of.
_UNUSED = "pooler.dense"
_HINT = "download the model again"


def place_of_task(choice: AdapterChoice, code: OwnCode) -> int | None:
    """Returns the number of a task among the adapters inside of the weights; None if it is none.

    As with folders, a name may have underscores in place of dots. Raises UsageError if two are so
    alike.
    """
    if code.inner is None or choice.revision is not None or "/" in choice.name:
        return None
    found = [n for n, task in enumerate(code.tasks) if folded(task) == folded(choice.name)]
    if len(found) > 1:
        names = ", ".join(code.tasks[n] for n in found)
        raise UsageError(
            f"--adapter {choice.name}: the model has several such tasks: {names}",
            "rename them in a copy of config.json",
        )
    return found[0] if found else None


def folded(name: str) -> str:
    """Returns a name without what jina's names of tasks and of folders differ in."""
    return re.sub(r"[._-]", "_", name.casefold())


def resolve_inside(
    folder: Path, code: OwnCode, place: int, *, weight: float, sha256: Mapping[str, str]
) -> ResolvedAdapter:
    """Returns one of the adapters inside of a model's weights, which are one file."""
    assert code.inner is not None
    (weights,) = weight_files(folder)
    records = []
    for file in (folder / "config.json", weights):
        digest = sha256.get(file.name) or hash_file(file)
        records.append(FileRecord(path=file.name, sha256=digest, size_bytes=file.stat().st_size))
    return ResolvedAdapter(
        record=AdapterRecord(
            adapter=code.tasks[place],
            revision=None,
            weight=weight,
            card=read_card(folder),
            files=tuple(records),
        ),
        weights=weights,
        settings=code.inner,
        place=place,
        places=len(code.tasks),
    )


def tensors_of_task(
    adapter: ResolvedAdapter, tensors: "Mapping[str, torch.Tensor]"
) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yields an adapter's tensors as PEFT would store them for transformers' class, as views.

    Source: modeling_lora.py of jinaai/xlm-roberta-flash-implementation. A Linear layer has factors
    (tasks, rank, inputs) and (tasks, outputs, rank); an Embedding (tasks, rows, rank) and
    (tasks, rank, columns), the other way round.

    Raises:
        SourceError: A tensor has no axis of as many tasks as config.json names.
        UnsupportedModelError: It is of a module that transformers' class does not have.
    """
    assert adapter.place is not None
    for name, tensor in tensors.items():
        found = FACTOR.fullmatch(name)
        if found is None or found["module"] == _UNUSED:
            continue
        if tensor.ndim != 3 or tensor.shape[0] != adapter.places:
            raise SourceError(
                f"{name[:200]!r} has the shape {tuple(tensor.shape)}, without one matrix for each "
                "task in config.json",
                _HINT,
            )
        module, matrix = found["module"], tensor[adapter.place]
        if module in _EMBEDDINGS:
            yield f"{module}.lora_embedding_{found['letter']}", matrix.T
            continue
        names = _names(module)
        is_down = found["letter"] == "A"
        if not is_down and matrix.shape[0] % len(names):
            raise SourceError(
                f"{name[:200]!r} has {matrix.shape[0]} rows, which are not {len(names)} parts",
                _HINT,
            )
        parts = [matrix] * len(names) if is_down else matrix.chunk(len(names))
        for part, values in zip(names, parts, strict=True):
            yield f"{part}.lora_{found['letter']}", values


def _names(module: str) -> Sequence[str]:
    """Returns transformers' names of a module's parts."""
    found = _LAYER.fullmatch(module)
    if found is None or found["part"] not in _PARTS:
        raise UnsupportedModelError(
            f"the weights have an adapter of {module[:200]!r}, which is not a part of this "
            "architecture",
            "use jinaai/jina-embeddings-v3, or a copy with transformers' own class",
        )
    return [f"{found['layer']}.{part}" for part in _PARTS[found["part"]]]
