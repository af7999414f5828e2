"""Python files of a repository, written for the twin: transformers' own class, made bidirectional.

That is what most such code does to a decoder, and it changes nothing of an encoder.
"""

from pathlib import Path

from support.twins.records import Twin

_HEAD = "import transformers\n"
_CONFIG = """\


class {name}(transformers.{base}):
    model_type = "{model_type}"
"""
_MODEL = """\


class {name}(transformers.{base}):
    {config_class}
    def __init__(self, config):
        config.is_causal = False
        super().__init__(config)
"""
#: Modules that are remote code, by their file and class: pplx-embed's in as much as it is used.
_MODULES = {
    "st_quantize.FlexibleQuantizer": """\
import torch
from sentence_transformers.models import Module


class FlexibleQuantizer(Module):
    def forward(self, features, quantization="int8", **kwargs):
        assert quantization == "int8"
        soft = torch.tanh(features["sentence_embedding"])
        hard = torch.clamp(torch.round(soft * 127), -128, 127)
        features["sentence_embedding"] = hard.detach() + soft - soft.detach()
        return features

    @classmethod
    def load(cls, model_name_or_path, **kwargs):
        return cls()

    def save(self, output_path, *args, **kwargs):
        pass
""",
}


def save_modules(twin: Twin, folder: Path) -> None:
    """Writes the files of modules that are remote code."""
    for module in twin.modules or ():
        for settings in module.values():
            if settings.get("_type") in _MODULES:
                file = settings["_type"].partition(".")[0]
                (folder / f"{file}.py").write_text(_MODULES[settings["_type"]])


def save(twin: Twin, folder: Path) -> None:
    """Writes the files that `auto_map` names, if they are in the repository."""
    from transformers.models.auto import configuration_auto, modeling_auto

    if twin.code != "own":
        return
    mappings = {
        "AutoConfig": configuration_auto.CONFIG_MAPPING_NAMES,
        "AutoModel": modeling_auto.MODEL_MAPPING_NAMES,
        "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "AutoModelForSequenceClassification": (
            modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
        ),
    }
    files: dict[str, str] = {}
    config_class = ""
    for key, path in twin.config["auto_map"].items():  # AutoConfig is the first
        file, name = path.split(".")
        base = mappings[key][twin.architecture]
        if key == "AutoConfig":
            text = _CONFIG.format(name=name, base=base, model_type=twin.config["model_type"])
            config_class, home = f"config_class = {name}\n", file
        else:
            text = _MODEL.format(name=name, base=base, config_class=config_class)
            if config_class and file not in (home, *files):
                text = f"from .{home} import {config_class.split()[-1]}\n{text}"
        files[file] = files.get(file, _HEAD) + text
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text)
