"""Whether a loaded model can read texts as a published folder will."""

from collections.abc import Callable
from typing import Any

from embconvert.errors import UnsupportedModelError
from embconvert.models.prompts import Prompts


def refuse_what_reads_no_text(chain: Any, model_type: str) -> None:
    """Refuses a model of images or sound, to which sentence-transformers cannot give a text."""
    ways = getattr(chain[0], "modality_config", {"text": {}})
    if not {"text", "message"} & {way for way in ways if isinstance(way, str)}:
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


def tell_of_left_out(prompts: Prompts, warn: Callable[[str], None]) -> None:
    """Warns about prompts that the pooling leaves out."""
    if prompts.pooled:
        return
    count = len([text for text in prompts.distinct if text])
    warn(
        "the pooling leaves prompts out (include_prompt: false): "
        f"the graphs recognize those of the model's settings ({count}) at the beginning of a "
        "text; any other text before the input is pooled"
    )
