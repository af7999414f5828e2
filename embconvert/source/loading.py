"""Loading the source model through optimum and sentence-transformers, quickly and checked."""

import contextlib
import re
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embconvert.errors import ExportError, SourceError, UnsupportedModelError
from embconvert.fidelity.tokenizer_errors import (
    broken_tokenizer,
    is_panic,
    tokenizer_errors,
    without_panic_messages,
)
from embconvert.models.kinds import KINDS, Kind
from embconvert.models.values import ResolvedModel
from embconvert.processes.light_imports import importing_what_is_used
from embconvert.source.private_copy import TOKENIZER_DATA
from embconvert.source.size_limits import refusing_absurd_modules
from embconvert.source.stored_weights import Casts, keeping_stored_precision, present_as_float32


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A source model in torch.

    Attributes:
        chain: Its modules, as the class of sentence-transformers that is for its kind.
        made_up: Names of the weights that its files lack.
        casts: Of the weights that are not stored in float32.
    """

    chain: Any
    made_up: frozenset[str]
    casts: Casts


def load_model(
    resolved: ResolvedModel, folder: Path, *, device: str, trust_remote_code: bool
) -> LoadedModel:
    """Loads the source by the class of sentence-transformers that is for its kind.

    An embedding model goes through optimum's TasksManager, which knows that class only.

    Weights are float32 whatever the checkpoint holds, so that the reference is exact. On the CPU
    they stay in their files, mapped, and those in another precision are cast as they are used.

    Args:
        resolved: The files.
        folder: Where the libraries find them; see private_copy.
        device: A torch device.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ExportError: There is not enough memory.
        SourceError: The weights don't fit the configuration.
        UnsupportedModelError: transformers or sentence-transformers can't build the model.
    """
    import torch

    with importing_what_is_used():
        import sentence_transformers
        from optimum.exporters.tasks import TasksManager

    _hush_libraries()
    # The tracer needs attention as plain operators.
    settings = {"torch_dtype": torch.float32, "attn_implementation": "eager"}
    made_up: set[str] = set()
    mapped = keeping_stored_precision() if device == "cpu" else contextlib.nullcontext()
    # Code that the user trusts may build whatever it wants.
    bounded = contextlib.nullcontext() if trust_remote_code else refusing_absurd_modules(resolved)
    try:
        # The model's own modules are imported as they are looked up.
        with (
            without_panic_messages(),
            importing_what_is_used(),
            compiling_patterns_when_used(),
            _noting_missing_weights(made_up),
            mapped,
            bounded,
        ):
            if resolved.kind is Kind.EMBEDDING:
                model = TasksManager.get_model_from_task(
                    "feature-extraction",
                    str(folder),
                    framework="pt",
                    library_name="sentence_transformers",
                    device=device,
                    trust_remote_code=trust_remote_code,
                    **settings,
                )
            else:
                model = getattr(sentence_transformers, KINDS[resolved.kind].library_class)(
                    str(folder),
                    device=device,
                    trust_remote_code=trust_remote_code,
                    local_files_only=True,
                    model_kwargs=settings,
                )
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError(
            "there is not enough memory for the source model",
            "convert it on a machine with more memory, or raise the container's limit",
        ) from error
    except SourceError:
        raise
    except Exception as error:
        # sentence-transformers tries several classes and keeps what went wrong to itself.
        if "Unrecognized processing class" in str(error) and not trust_remote_code:
            _try_tokenizer(folder)
        raise _load_error(resolved, folder, error) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise broken_tokenizer("cannot be loaded", error) from None
    casts = present_as_float32(model)
    model.eval().requires_grad_(False)
    return LoadedModel(chain=model, made_up=frozenset(made_up), casts=casts)


@contextlib.contextmanager
def _noting_missing_weights(missing: set[str]) -> Iterator[None]:
    """Collects the names of the weights that transformers initializes at random.

    from_pretrained() tells them only to its direct caller (`output_loading_info`), and there are
    two libraries in between; this hook is where 5.23 settles the list.
    """
    from transformers import PreTrainedModel

    original = PreTrainedModel._adjust_missing_and_unexpected_keys

    def noting(model: Any, loading_info: Any) -> None:
        original(model, loading_info)
        missing.update(loading_info.missing_keys)

    PreTrainedModel._adjust_missing_and_unexpected_keys = noting
    try:
        yield
    finally:
        PreTrainedModel._adjust_missing_and_unexpected_keys = original


@contextlib.contextmanager
def compiling_patterns_when_used() -> Iterator[None]:
    """Has transformers 5.23 compile only the patterns of the model's own weights.

    It knows the former names of all architectures' weights by a thousand regular expressions, and
    takes a sixth of a second to compile them.
    """
    from transformers import core_model_loading

    core_model_loading.re = types.SimpleNamespace(
        compile=_PatternWhenUsed, search=re.search, sub=re.sub
    )
    try:
        yield
    finally:
        core_model_loading.re = re


class _PatternWhenUsed:
    """A regular expression that is compiled when it is first asked for anything."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __getattr__(self, name: str) -> Any:
        return getattr(re.compile(self._pattern), name)


def _hush_libraries() -> None:
    """Keeps the libraries' progress bars and advice away; --debug leaves them on."""
    import logging
    import os
    import threading
    import warnings

    from tqdm import tqdm

    # Its default lock is a semaphore of the system's, which outlives a worker that is ended.
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
    """Says what is wrong with a tokenizer.

    Raises:
        SourceError: Something is.
    """
    from transformers import AutoTokenizer

    files = [path for path in folder.rglob("*") if path.name in TOKENIZER_DATA]
    if files:
        names = ", ".join(sorted(path.name for path in files if path.parent == files[0].parent))
        with tokenizer_errors("cannot be loaded", names):
            AutoTokenizer.from_pretrained(str(files[0].parent), local_files_only=True)


def _is_of_tokenizer(error: BaseException | None) -> bool:
    """Whether it was raised where transformers makes a tokenizer."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if any("tokenization_" in Path(frame.filename).name for frame in frames):
            return True
        error = error.__cause__ or error.__context__
    return False


def _load_error(
    resolved: ResolvedModel, folder: Path, error: Exception
) -> SourceError | UnsupportedModelError:
    said = str(error).strip().replace(str(folder), str(resolved.folder))
    reason = (said or type(error).__name__).splitlines()[0]
    text = said.lower()
    model_type = resolved.architecture.model_type
    if "trust_remote_code" in text:
        return UnsupportedModelError(
            f"{model_type} needs remote code: {reason}",
            "read the model's Python files, and if you trust them add --trust_remote_code",
        )
    if "does not recognize this architecture" in text or "unrecognized model in" in text:
        return UnsupportedModelError(
            f"transformers does not know the architecture {model_type}",
            "check config.json's model_type; a newer embconvert may know it",
        )
    if _is_of_tokenizer(error) and not isinstance(error, ImportError):
        names = [name for name in TOKENIZER_DATA if (folder / name).exists()]
        return broken_tokenizer("cannot be loaded", error, ", ".join(names))
    if isinstance(error, KeyError | ImportError | NotImplementedError | AttributeError):
        return UnsupportedModelError(
            f"{model_type} cannot be loaded: {type(error).__name__}: {reason}",
            "add --debug for the traceback; the model may need another library",
        )
    return SourceError(
        f"the model cannot be loaded: {reason}", "check its files; add --debug for the traceback"
    )
