"""What the files of a model may not do: reach out of their folder, run code, ask for absurd sizes.

The libraries that read a model trust it more than its user can: they follow links and import
paths, and allocate what its configuration says before they look at its weights.
"""

import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError, UnsupportedModelError

_REACHES_OUT = "do not use this model; it reaches for files that are not its own"
# Only weights are larger.
_MAX_OTHER_FILE_BYTES = 1 << 29
_MAX_LAYERS = 10_000
_MAX_POSITIONS = 1 << 24
_MAX_FIGURE = 1 << 53
# Every model that names one of the first has a matrix of it by at least the smallest of the second.
_ROWS = ("vocab_size", "intermediate_size", "d_ff", "hidden_dim")
_COLUMNS = (
    "hidden_size", "embedding_size", "d_model", "dim", "d_embed", "n_embd", "emb_dim",
)  # fmt: skip
# The libraries make lists of so many before they make modules, of whatever name the count has.
_COUNTS = re.compile(r"(.*_)?(layers?|blocks?|groups?|experts?|heads?|stages?|depths?)")


def refuse_escapes(folder: Path, files: Iterable[Path]) -> None:
    """Refuses links that lead out of the model's folder.

    A folder of the hub's cache is all links, to the `blobs` folder beside it.

    Args:
        folder: The model's.
        files: What will be read.

    Raises:
        SourceError: One is a link to elsewhere, or is absurdly large.
    """
    own = [folder.resolve()]
    if folder.parent.name == "snapshots":
        own.append(folder.parent.parent.resolve() / "blobs")
    for file in files:
        real = file.resolve()
        if not any(real.is_relative_to(root) for root in own):
            raise SourceError(
                f"{file.name} is a link to {real}, outside the model's folder",
                "if you made it, put the file itself there; else do not use this model",
            )
        size = real.stat().st_size
        if size > _MAX_OTHER_FILE_BYTES and file.suffix != ".safetensors":
            raise SourceError(
                f"{file.name} is {size / 1e6:.0f} MB, which no model needs", "do not use this model"
            )


def refuse_special_files(folder: Path) -> None:
    """Refuses a folder with pipes, sockets or devices: who opens one may wait forever.

    The libraries open whatever has a name that they know, so that nothing is read is no excuse.

    Raises:
        SourceError: It has one.
    """
    for path in folder.iterdir():
        try:
            mode = path.stat().st_mode
        except OSError:  # a link to nowhere, which nobody can open
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SourceError(f"{path.name} is no ordinary file", _REACHES_OUT)


def refuse_absurd_sizes(config: Mapping[str, Any], parameters: int) -> None:
    """Refuses a configuration that asks for more than its weights can be.

    Args:
        config: The model's config.json.
        parameters: How many numbers its weights are.

    Raises:
        SourceError: It does.
    """
    hint = "config.json is damaged, or of another model; download it again"
    _refuse_absurd_counts(config, "", hint)
    columns = [n for key in _COLUMNS if isinstance(n := config.get(key), int) and n > 0]
    for key in _ROWS:
        rows = config.get(key)
        if isinstance(rows, int) and columns and rows * min(columns) > parameters:
            raise SourceError(
                f"config.json asks for a matrix of {key} {rows} x {min(columns)} numbers, and all "
                f"weights together are {parameters}",
                hint,
            )


def _refuse_absurd_counts(value: Any, where: str, hint: str) -> None:
    """Refuses figures beyond what any model has, in a configuration and those of its parts.

    Raises:
        SourceError: There is one.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_absurd_counts(item, f"{where}.{key}" if where else key, hint)
    elif isinstance(value, list):
        for item in value:
            _refuse_absurd_counts(item, where, hint)
    elif isinstance(value, int) and not isinstance(value, bool):
        name = where.rpartition(".")[2]
        limit = _MAX_FIGURE
        if _COUNTS.fullmatch(name):
            limit = _MAX_LAYERS
        elif name == "max_position_embeddings":
            limit = _MAX_POSITIONS
        if abs(value) > limit:
            # A float of more than 308 digits is an error.
            said = f"{value:.3g}" if value.bit_length() < 1000 else "of hundreds of digits"
            raise SourceError(f"config.json asks for {where} {said}, over {limit}", hint)


def refuse_adapter(root: Path) -> None:
    """Refuses weights that are not the model's alone.

    Args:
        root: The transformer's folder.

    Raises:
        UnsupportedModelError: An adapter is beside them, which transformers would load instead.
    """
    if (root / "adapter_config.json").exists():
        raise UnsupportedModelError(
            "the folder has an adapter (adapter_config.json), whose base model is elsewhere",
            "merge it into its base model with PEFT's merge_and_unload(), and convert what "
            "save_pretrained() writes then",
        )


def refuse_foreign_code(config: Mapping[str, Any], *, is_local: bool) -> None:
    """Refuses code that is in another repository, for a model that is on this machine.

    Args:
        config: The model's config.json.
        is_local: Whether the model is a folder, for which no connection is opened.

    Raises:
        SourceError: It names such code.
    """
    names = config.get("auto_map")
    if not is_local or not isinstance(names, Mapping):
        return
    for key, value in names.items():
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and "--" in name:
                raise SourceError(
                    f"config.json: the setting auto_map.{key} names code of another repository, "
                    f"{name}, and for a folder no connection is opened",
                    "put those Python files into the model's folder, and write their names without "
                    "the repository",
                )
