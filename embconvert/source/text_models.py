"""Whether sentence-transformers can give a text to a model."""

import inspect
from typing import Any

from embconvert.errors import UnsupportedModelError


def refuse_what_reads_no_text(module: Any, model_type: str) -> None:
    """Refuses a model of images or sound.

    Args:
        module: The first one of the chain.
        model_type: By transformers' name, for the message.

    Raises:
        UnsupportedModelError: The module takes no texts.
    """
    ways = getattr(module, "modality_config", None)
    if ways is None:  # a static model, or a module of the model's own code
        return
    named = {"text", "message"} & {way for way in ways if isinstance(way, str)}
    if not named or _needs_other_inputs(getattr(module, "auto_model", None)):
        raise UnsupportedModelError(
            f"sentence-transformers cannot embed texts with the architecture {model_type}",
            "if it is made of a text model, as dpr is of bert, save that part with "
            "save_pretrained() and convert it",
        )


def _needs_other_inputs(model: Any) -> bool:
    """Whether a model reads no tokens, and cannot run without what it reads.

    transformers takes a vision model that says nothing of its inputs for one of texts.
    """
    forward = getattr(model, "forward", None)
    if forward is None:
        return False
    parameters = inspect.signature(forward).parameters
    return "input_ids" not in parameters and any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in parameters.values()
    )
