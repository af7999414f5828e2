"""What the libraries raise because of a model, as an error of the model."""

import contextlib
from collections.abc import Iterator
from typing import Any

from embconvert.errors import (
    MORE_MEMORY,
    EmbconvertError,
    ExportError,
    SourceError,
    UnsupportedModelError,
    reason_of,
)


@contextlib.contextmanager
def model_errors() -> Iterator[None]:
    """Turns exceptions that sentence-transformers raises for a text into errors of the source.

    The model's settings can ask for anything. Without enough memory, it is an ExportError.
    """
    import torch

    try:
        yield
    except EmbconvertError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError("there is not enough memory for the source model", MORE_MEMORY) from error
    except Exception as error:
        if isinstance(error, KeyError) and error.args == ("sentence_embedding",):
            raise SourceError(
                "the model's modules give no vector of a text: modules.json has no pooling",
                "add a Pooling module to modules.json in a copy; or, if its only module is a "
                "transformer, convert that module's folder and choose with --pooling how a text's "
                "token vectors become one",
            ) from error
        raise SourceError(
            f"sentence-transformers cannot embed a text with this model: {reason_of(error)}",
            "a setting in its JSON files may be wrong; download the model again, or add --debug "
            "for the traceback",
        ) from error


@contextlib.contextmanager
def naming_missing_pad_token_id(transformer: Any) -> Iterator[None]:
    """Says of an error of model_errors() that config.json has no pad_token_id, if that is why.

    Args:
        transformer: sentence-transformers' module, which was run inside the block.
    """
    try:
        yield
    except SourceError as error:
        # Architectures compare ids with it, or refuse batches without it.
        is_why = "NoneType" in error.message or "no padding token" in error.message
        config = getattr(transformer, "config", None)
        if not is_why or config is None:  # a module of the model's own code has none
            raise
        if getattr(config.get_text_config(), "pad_token_id", None) is not None:
            raise
        raise SourceError(
            "config.json has no pad_token_id, without which sentence-transformers cannot run this "
            f"model ({error.message.rpartition(': ')[2]})",
            f"set pad_token_id to {transformer.tokenizer.pad_token_id} in a copy of config.json: "
            "the tokenizer pads with that token",
        ) from error


@contextlib.contextmanager
def unexpected_model_errors(model_type: str) -> Iterator[None]:
    """Turns unexpected exceptions of the libraries, except OSError, into errors about the model."""
    import torch

    try:
        yield
    except (EmbconvertError, OSError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ExportError("there is not enough memory for the source model", MORE_MEMORY) from error
    except Exception as error:
        raise UnsupportedModelError(
            f"a model of the architecture {model_type} cannot be converted: "
            f"{type(error).__name__}: {reason_of(error)}",
            "add --debug for the traceback, and please report the model",
        ) from error
