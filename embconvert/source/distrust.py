"""What the files of a model may not do: reach out of their folder, run code, ask for absurd sizes.

The libraries that read a model trust it more than its user can: they follow links and import
paths, and allocate what its configuration says before they look at its weights.
"""

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
# Every model that names one of the first has a matrix of it by at least the smallest of the second.
_ROWS = ("vocab_size", "intermediate_size", "d_ff", "hidden_dim")
_COLUMNS = (
    "hidden_size", "embedding_size", "d_model", "dim", "d_embed", "n_embd", "emb_dim",
)  # fmt: skip
_LAYER_COUNTS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_blocks")


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
    for key, value in config.items():
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1 << 53:
            raise SourceError(f"config.json asks for {key} {value:.3g}", hint)
    columns = [n for key in _COLUMNS if isinstance(n := config.get(key), int) and n > 0]
    for key in _ROWS:
        rows = config.get(key)
        if isinstance(rows, int) and columns and rows * min(columns) > parameters:
            raise SourceError(
                f"config.json asks for a matrix of {key} {rows} x {min(columns)} numbers, and all "
                f"weights together are {parameters}",
                hint,
            )
    for keys, limit in (
        (_LAYER_COUNTS, _MAX_LAYERS),
        (("max_position_embeddings",), _MAX_POSITIONS),
    ):
        for key in keys:
            value = config.get(key)
            if isinstance(value, int) and value > limit:
                raise SourceError(f"config.json asks for {key} {value}, over {limit}", hint)


def refuse_other_weights(config: Mapping[str, Any]) -> None:
    """Refuses a configuration that names the file of its weights: it may be a pickle.

    Raises:
        SourceError: It does; transformers reads `transformers_weights` before model.safetensors.
    """
    name = config.get("transformers_weights")
    if name is not None and not str(name).endswith(".safetensors"):
        raise SourceError(
            f"config.json names the weights {name!r}, which are no safetensors",
            "remove transformers_weights from config.json, or do not use this model",
        )


def refuse_activation(config: Mapping[str, Any], where: str) -> None:
    """Refuses a Dense module whose activation is foreign code.

    sentence-transformers would take Tanh instead and only log it: a wrong model.

    Args:
        config: Of the module.
        where: Its file, for the message.

    Raises:
        UnsupportedModelError: It is.
    """
    name = config.get("activation_function")
    if name is not None and not str(name).startswith("torch."):
        raise UnsupportedModelError(
            f"{where} names the activation {name}, which is remote code",
            "read that code, and if you trust it add --trust_remote_code",
        )
