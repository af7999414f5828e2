"""Whether a loaded model can read texts as a published folder will."""

import inspect
from collections.abc import Callable
from typing import Any

from embconvert.errors import UnsupportedModelError
from embconvert.models.prompts import Prompts


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


def refuse_chat_template(chain: Any) -> None:
    """Raises UnsupportedModelError for a model with a chat template.

    Such a template is a program in the model's files, which is never run.
    """
    if "message" in getattr(chain[0], "modality_config", {}):
        raise UnsupportedModelError(
            "this model applies a chat template to its texts, which tokenizer.json cannot contain",
            "if it should read plain texts, remove the chat template (chat_template.jinja, "
            "and chat_template in tokenizer_config.json) from a copy",
        )


def tell_of_left_out(
    prompts: Prompts, warn: Callable[[str], None], *, cuts_beginnings: bool
) -> None:
    """Warns about prompts that the pooling leaves out.

    Args:
        cuts_beginnings: Whether long texts are cut on the left.

    Raises:
        UnsupportedModelError: The prompts are cut off: sentence-transformers then leaves out other
            tokens, as many as the prompt has.
    """
    if prompts.pooled:
        return
    count = len([text for text in prompts.distinct if text])
    if count and cuts_beginnings:
        raise UnsupportedModelError(
            "the pooling leaves prompts out, and long texts are cut on the left, where their "
            "prompts are: a graph cannot recognize what is gone",
            "set truncation_side to right in a copy of tokenizer_config.json",
        )
    warn(
        "the pooling leaves prompts out (include_prompt: false): "
        f"the graphs recognize those of the model's settings ({count}) at the beginning of a "
        "text; any other text before the input is pooled"
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
