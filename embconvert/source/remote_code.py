"""Models that need code of their own."""

from collections.abc import Mapping
from typing import Any

from embconvert.errors import UnsupportedModelError
from embconvert.source.untraceable import refuse_untraceable

#: Settings of parts that only a model's own code has, by architecture, and what they are.
_OF_OWN_CODE = {"nomic_bert": ("moe_every_n_layers", "experts")}


def check_remote_code(config: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    """Raises UnsupportedModelError for an architecture that needs remote code, or has no graph."""
    names = config.get("auto_map")
    if trust_remote_code:
        return
    refuse_untraceable(str(config.get("model_type")))
    if not names:
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = config["model_type"]
    part = _OF_OWN_CODE.get(str(model_type))
    if part is not None and config.get(part[0]):
        raise UnsupportedModelError(
            f"{model_type} needs remote code: config.json says {part[0]}, and transformers' own "
            f"class has no {part[1]}",
            "read the model's Python files; if you trust them, add --trust_remote_code",
        )
    own = CONFIG_MAPPING_NAMES.get(model_type)
    if own is None:
        raise UnsupportedModelError(
            f"{model_type} needs remote code: transformers has no such architecture",
            "read the model's Python files; if you trust them, add --trust_remote_code",
        )
    other = _other_class(names, own)
    if other is not None:
        raise UnsupportedModelError(
            f"{model_type} needs remote code: config.json replaces transformers' own class by "
            f"{other}",
            "read the model's Python files; if you trust them, add --trust_remote_code; if "
            "transformers' own class computes the same, remove auto_map from a copy of config.json",
        )


def _other_class(names: Any, own: str) -> str | None:
    """Returns the class of an `auto_map` that computes something else than transformers' own.

    Code with a configuration of the same name is what transformers' class was made of, as for
    nomic_bert. Code with another configuration (JinaBert), or with transformers' configuration and
    another model (a bidirectional Qwen2), is there because it differs.
    """
    if not isinstance(names, Mapping):
        return None
    classes = {key: str(name).rpartition(".")[2] for key, name in names.items()}
    if "AutoConfig" in classes:
        return classes["AutoConfig"] if classes["AutoConfig"] != own else None
    models = (name for key, name in classes.items() if key.startswith("AutoModel"))
    return next(models, None)
