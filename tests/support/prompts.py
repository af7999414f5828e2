"""Gives models prompts."""

import json
from collections.abc import Mapping
from pathlib import Path

FILE = "config_sentence_transformers.json"


def give_prompts(
    model: Path, prompts: Mapping[str, str | None], *, default: str | None = None
) -> Path:
    """Writes prompts into a model's settings; returns the model."""
    path = model / FILE
    settings = json.loads(path.read_text()) if path.exists() else {}
    settings |= {"prompts": dict(prompts), "default_prompt_name": default}
    path.write_text(json.dumps(settings))
    return model
