"""What a model reads besides text, and which of its parts do: a conversion leaves them out."""

import re
from collections.abc import Mapping
from typing import Any

#: Settings of parts that read something else, with what these read.
_SETTINGS: Mapping[str, str] = {
    "vision_config": "images", "image_config": "images", "video_config": "videos",
    "audio_config": "audio", "speech_config": "audio",
}  # fmt: skip
#: Architectures without such a part: one transformer reads all inputs.
_ARCHITECTURES: Mapping[str, str] = {"neomme": "images"}
#: Settings of a part that has such parts itself.
_NESTED = ("vlm_config", "thinker_config")
# Their names among a model's weights, as whole parts of a name.
_WEIGHTS = re.compile(
    r"(^|.*\.)(vision_model|vision_tower|visual|visual_projection|vision_embed\w*|embed_vision"
    r"|patch_embeddings|multi_modal_projector|audio_model|audio_tower|audio_projection|embed_audio)\..*"
)


def other_inputs(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what a model reads besides text, in words; empty for a model of text."""
    found = [words for key, words in _SETTINGS.items() if isinstance(config.get(key), Mapping)]
    found += [words for name, words in _ARCHITECTURES.items() if config.get("model_type") == name]
    for key in _NESTED:
        if isinstance(config.get(key), Mapping):
            found += other_inputs(config[key])
    return tuple(dict.fromkeys(found))


def reads_text(weight: str) -> bool:
    """Whether a weight, by its name, belongs to no part that reads something else."""
    return _WEIGHTS.fullmatch(weight) is None
