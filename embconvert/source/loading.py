"""Loads the source model through optimum and sentence-transformers."""

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.errors import (
    MORE_MEMORY,
    ExportError,
    SourceError,
    UnsupportedModelError,
    first_line,
)
from embconvert.fidelity.tokenizer_errors import (
    broken_tokenizer,
    is_panic,
    tokenizer_errors,
    without_panic_messages,
)
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.values import ResolvedModel
from embconvert.processes.light_imports import importing_what_is_used
from embconvert.source.adapters.merging import merge_adapters
from embconvert.source.module_arguments import lacking_settings
from embconvert.source.private_copy import TOKENIZER_DATA
from embconvert.source.random_weights import refuse_random
from embconvert.source.size_limits import refusing_absurd_modules
from embconvert.source.stand_ins import opening_stand_ins
from embconvert.source.stored_weights import Casts, keeping_stored_precision, present_as_float32
from embconvert.source.weights import mapped_files, stored_names


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A source model in torch.

    Attributes:
        chain: Its modules, in the sentence-transformers class for its kind.
        made_up: Names of weights that its files do not have.
        casts: Of weights that are not stored in float32.
    """

    chain: Any
    made_up: frozenset[str]
    casts: Casts


def load_model(
    resolved: ResolvedModel, folder: Path, *, device: str, trust_remote_code: bool
) -> LoadedModel:
    """Loads the source with the sentence-transformers class for its kind, from a private copy.

    Weights are float32 whatever the checkpoint has, so that the reference is exact. On the CPU they
    are memory-mapped, and those of another precision are cast when they are used.

    Raises:
        ExportError: There is not enough memory.
        SourceError: The weights don't fit the configuration.
        UnsupportedModelError: transformers or sentence-transformers cannot build the model.
    """
    import torch

    with importing_what_is_used():
        import sentence_transformers
        from optimum.exporters.tasks import TasksManager

    hush_libraries()
    rules = KINDS[resolved.kind]
    # Tracing requires attention as plain operators.
    settings = {"torch_dtype": torch.float32, "attn_implementation": "eager"}
    made_up: set[str] = set()
    other_shapes: list[tuple[str, Sequence[int], Sequence[int]]] = []
    mapped: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if device == "cpu":
        mapped = keeping_stored_precision(mapped_files(resolved))
    # Trusted code may build any modules.
    bounded = contextlib.nullcontext() if trust_remote_code else refusing_absurd_modules(resolved)
    with (
        _translated_errors(resolved, folder, other_shapes, trust_remote_code=trust_remote_code),
        without_panic_messages(),
        importing_what_is_used(),  # the model's own modules are imported at their first use
        _noting_missing_weights(made_up, other_shapes),
        opening_stand_ins(resolved, folder),
        mapped,
        bounded,
    ):
        # optimum refuses static embeddings.
        if rules.optimum_task is not None and resolved.static is None:
            model = TasksManager.get_model_from_task(
                rules.optimum_task,
                str(folder),
                framework="pt",
                library_name="sentence_transformers",
                device=device,
                trust_remote_code=trust_remote_code,
                **settings,
            )
        else:
            model = getattr(sentence_transformers, rules.library_class)(
                str(folder),
                device=device,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                model_kwargs=settings,
            )
    inner = getattr(model[0], "auto_model", None)
    refuse_random(inner, made_up, stored_names(resolved))
    merged = merge_adapters(inner, resolved.adapters)
    casts = present_as_float32(model, merged.weights)
    model.eval().requires_grad_(False)
    return LoadedModel(chain=model, made_up=frozenset(made_up - merged.replaced), casts=casts)


@contextlib.contextmanager
def _translated_errors(
    resolved: ResolvedModel,
    folder: Path,
    other_shapes: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    *,
    trust_remote_code: bool,
) -> Iterator[None]:
    """Turns the libraries' errors into those of load_model()."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError("there is not enough memory for the source model", MORE_MEMORY) from error
    except SourceError:
        raise
    except Exception as error:
        if other_shapes:
            raise _shape_error(other_shapes) from error
        # sentence-transformers tries several classes and hides their errors.
        if "Unrecognized processing class" in str(error) and not trust_remote_code:
            _try_tokenizer(folder)
        raise _missing(resolved, error) or _load_error(resolved, folder, error) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise broken_tokenizer("cannot be loaded", error) from None


@contextlib.contextmanager
def _noting_missing_weights(
    missing: set[str], other_shapes: list[tuple[str, Sequence[int], Sequence[int]]]
) -> Iterator[None]:
    """Collects the names of weights that transformers initializes randomly, and unfit shapes.

    from_pretrained() reports them only to its direct caller (`output_loading_info`), which is
    another library; transformers 5.24 completes the lists in this hook. `other_shapes` gets the
    names of weights, their shapes in the files and those by config.json.
    """
    from transformers import PreTrainedModel

    original = PreTrainedModel._adjust_missing_and_unexpected_keys

    def noting(model: Any, loading_info: Any) -> None:
        original(model, loading_info)
        missing.update(loading_info.missing_keys)
        other_shapes.extend(sorted(loading_info.mismatched_keys))

    PreTrainedModel._adjust_missing_and_unexpected_keys = noting
    try:
        yield
    finally:
        PreTrainedModel._adjust_missing_and_unexpected_keys = original


def _shape_error(found: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> SourceError:
    """Returns an error about weights whose shapes are not those by config.json."""
    found = list(dict.fromkeys(found))  # sentence-transformers may have tried several classes
    name, stored, wanted = found[0]
    shapes = ["x".join(map(str, shape)) for shape in (stored, wanted)]
    others = f", and {len(found) - 1} more do not fit" if len(found) > 1 else ""
    return SourceError(
        f"the weight {name} is {shapes[0]} in the model's files, but {shapes[1]} by "
        f"config.json{others}",
        "correct the sizes in a copy of config.json, or download the model again",
    )


def hush_libraries() -> None:
    """Turns off the libraries' progress bars and advice, except with --debug."""
    import logging
    import os
    import threading
    import warnings

    from tqdm import tqdm

    # Its default lock is a system-wide semaphore, which outlives a killed worker.
    tqdm.set_lock(threading.RLock())
    if os.environ.get("EMBCONVERT_DEBUG"):
        return
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for name in ("sentence_transformers", "torch.onnx", "optimum"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


def _try_tokenizer(folder: Path) -> None:
    """Raises SourceError with the reason if a tokenizer cannot be loaded."""
    from transformers import AutoTokenizer

    files = [path for path in folder.rglob("*") if path.name in TOKENIZER_DATA]
    if files:
        names = ", ".join(sorted(path.name for path in files if path.parent == files[0].parent))
        with tokenizer_errors("cannot be loaded", names):
            AutoTokenizer.from_pretrained(str(files[0].parent), local_files_only=True)


def _is_of_tokenizer(error: BaseException | None) -> bool:
    """Whether transformers raised an error while it created a tokenizer."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if any("tokenization_" in Path(frame.filename).name for frame in frames):
            return True
        error = error.__cause__ or error.__context__
    return False


def undeclared_kind(kind: Kind, why: str) -> SourceError:
    """Returns the error for a model whose modules alone say of what kind it is."""
    name = KINDS[kind].library_class
    return SourceError(
        f"config_sentence_transformers.json does not say that this is a {name}, {why}",
        f'add "model_type": "{name}" to a copy of that file',
    )


def _missing(resolved: ResolvedModel, error: Exception) -> SourceError | None:
    """Returns an error that names what the model's files lack; None if another thing is wrong."""
    said = (resolved.settings or {}).get("config_sentence_transformers.json", {})
    is_declared = resolved.kind is Kind.EMBEDDING or said.get("model_type") is not None
    if "Cannot determine the embedding dimension" in str(error) and not is_declared:
        return undeclared_kind(resolved.kind, "and sentence-transformers cannot load it as another")
    name = str(error).strip("'")
    if isinstance(error, KeyError) and name.endswith((".weight", ".bias")):
        return SourceError(
            f"the weight {name} is not in the model's files", "download the model again"
        )
    return lacking_settings(resolved.settings, error)


def _load_error(
    resolved: ResolvedModel, folder: Path, error: Exception
) -> SourceError | UnsupportedModelError:
    said = str(error).strip().replace(str(folder), str(resolved.folder))
    reason = first_line(said or type(error).__name__)
    text = said.lower()
    model_type = resolved.architecture.model_type
    if "trust_remote_code" in text:
        return UnsupportedModelError(
            f"{model_type} needs remote code: {reason}",
            "read the model's Python files, and if you trust them add --trust_remote_code",
        )
    if "does not recognize this architecture" in text or "unrecognized model in" in text:
        return UnsupportedModelError(
            f"transformers does not support the architecture {model_type}",
            "check config.json's model_type; a newer embconvert may support it",
        )
    if _is_of_tokenizer(error) and not isinstance(error, ImportError):
        names = [name for name in TOKENIZER_DATA if (folder / name).exists()]
        return broken_tokenizer("cannot be loaded", error, ", ".join(names))
    if isinstance(error, ImportError):
        return UnsupportedModelError(
            f"{model_type} needs a library that embconvert does not have: {reason}",
            "use a model that needs no further library; add --debug for the traceback",
        )
    if isinstance(error, KeyError | NotImplementedError | AttributeError):
        return UnsupportedModelError(
            f"{model_type} cannot be loaded: {type(error).__name__}: {reason}",
            "add --debug for the traceback, and please report the model",
        )
    return SourceError(
        f"the model cannot be loaded: {reason}",
        "download the model again, or add --debug for the traceback",
    )
