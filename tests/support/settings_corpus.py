"""Models whose settings name what is not theirs: each function turns a good model into one."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.corpus import CODE, Code, Hostile, config, edit

#: Written into files that no model may read.
SECRET = "the-secret-token"
BERT_SETTINGS = "sentence_bert_config.json"
TOKENIZER_SETTINGS = "tokenizer_config.json"
UNPICKLE = {"use_safetensors": False, "weights_only": False, "dtype": "auto"}


def set_json(name: str, **changes: Any) -> Callable[[Path], None]:
    """A settings file with more keys; made where it is missing."""

    def spoil(model: Path) -> None:
        path = model / name
        path.parent.mkdir(exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | changes))

    return spoil


def with_pickle(spoil: Callable[[Path], None], folder: str = "") -> Callable[[Path], None]:
    """The same, with a pickle that runs code in the place where transformers would look."""

    def both(model: Path) -> None:
        spoil(model)
        (model / folder / "pytorch_model.bin").write_bytes(pickle.dumps(Code()))

    return both


def with_code(spoil: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same, with Python files of each name that a library may look for."""

    def both(model: Path) -> None:
        spoil(model)
        for name in ("evil", "modeling_evil", "tokenization_evil", "configuration_evil"):
            (model / f"{name}.py").write_text(CODE)

    return both


def neighbour(spoil: Callable[[Path, Path], None]) -> Callable[[Path], None]:
    """Settings that lead to another model's folder beside, whose tokenizer holds a secret."""

    def both(model: Path) -> None:
        other = model.parent / "neighbour"
        shutil.copytree(model, other)
        tokenizer = json.loads((other / "tokenizer.json").read_text())
        tokenizer["added_tokens"][0]["content"] = SECRET
        tokenizer["model"]["vocab"][SECRET] = tokenizer["added_tokens"][0]["id"]
        (other / "tokenizer.json").write_text(json.dumps(tokenizer))
        spoil(model, other)

    return both


def last_module(kind: str, settings: dict[str, Any] | None = None) -> Callable[[Path], None]:
    """A module more, of this class, with these settings and weights."""

    def spoil(model: Path) -> None:
        modules = json.loads((model / "modules.json").read_text())
        path = f"{len(modules)}_More"
        modules.append({"idx": len(modules), "name": str(len(modules)), "path": path, "type": kind})
        (model / "modules.json").write_text(json.dumps(modules))
        (model / path).mkdir()
        (model / path / "config.json").write_text(json.dumps(settings or {}))
        shutil.copy(model / "model.safetensors", model / path / "model.safetensors")

    return spoil


def second_transformer(**settings: Any) -> Callable[[Path], None]:
    """A transformer in a folder of its own, with settings of its own."""

    def spoil(model: Path) -> None:
        inner = model / "0_Transformer"
        inner.mkdir()
        for path in list(model.iterdir()):
            moved = path.is_file() and path.name not in (
                "modules.json", "config_sentence_transformers.json",
            )  # fmt: skip
            if moved:
                path.rename(inner / path.name)
        modules = json.loads((model / "modules.json").read_text())
        modules[0]["path"] = "0_Transformer"
        (model / "modules.json").write_text(json.dumps(modules))
        edit(inner / BERT_SETTINGS, **settings)
        (inner / "pytorch_model.bin").write_bytes(pickle.dumps(Code()))

    return spoil


def older_name(model: Path) -> None:
    """The settings under the name that an older release gave them."""
    (model / BERT_SETTINGS).rename(model / "sentence_roberta_config.json")
    edit(model / "sentence_roberta_config.json", model_args=UNPICKLE)


def dense(activation: str) -> Callable[[Path], None]:
    """A Dense module with this activation."""
    settings = {"in_features": 32, "out_features": 32, "activation_function": activation}
    return last_module("sentence_transformers.models.Dense", settings)


def adapter(model: Path) -> None:
    settings = {"peft_type": "LORA", "base_model_name_or_path": "some/repo"}
    (model / "adapter_config.json").write_text(json.dumps(settings))


BATCH_ENCODING = "sentence_transformers.models.Router"
KWARGS = (
    "model_args", "config_args", "tokenizer_args", "model_kwargs", "config_kwargs",
    "processor_kwargs", "processor_args", "processing_kwargs",
)  # fmt: skip

#: A part of a file's name in the message, so that the user finds it.
SETTINGS_CORPUS: dict[str, Hostile] = {
    **{
        f"pickle by {key}": Hostile(with_pickle(set_json(BERT_SETTINGS, **{key: UNPICKLE})), 3, key)
        for key in KWARGS
    },
    "pickle by a module's own settings": Hostile(
        second_transformer(model_args=UNPICKLE), 3, "model_args"
    ),
    "pickle by older settings' name": Hostile(
        with_pickle(older_name),
        3,
        "model_args",
    ),
    "GGUF by model_args": Hostile(
        set_json(BERT_SETTINGS, model_args={"gguf_file": "../x.gguf"}), 3, "gguf_file"
    ),
    "cache by model_args": Hostile(
        set_json(BERT_SETTINGS, model_args={"cache_dir": "/tmp/x"}), 3, "cache_dir"
    ),
    "subfolder by config_args": Hostile(
        set_json(BERT_SETTINGS, config_args={"subfolder": ".."}), 3, "subfolder"
    ),
    "adapter by model_args": Hostile(
        set_json(
            BERT_SETTINGS, model_args={"adapter_kwargs": {"_adapter_model_path": "some/repo"}}
        ),
        3,
        "adapter_kwargs",
    ),
    "kernel by model_args": Hostile(
        set_json(BERT_SETTINGS, model_args={"attn_implementation": "some/repo:attention"}),
        3,
        "attn_implementation",
    ),
    "tokenizer of another folder": Hostile(
        neighbour(lambda m, other: edit(m / BERT_SETTINGS, tokenizer_name_or_path=str(other))),
        3,
        "tokenizer_name_or_path",
    ),
    "tokenizer of a folder above": Hostile(
        neighbour(lambda m, _: edit(m / BERT_SETTINGS, tokenizer_name_or_path="../neighbour")),
        3,
        "tokenizer_name_or_path",
    ),
    "tokenizer of a repository": Hostile(
        set_json(BERT_SETTINGS, tokenizer_name_or_path="some/repo"), 3, "tokenizer_name_or_path"
    ),
    "tokenizer file by tokenizer_args": Hostile(
        neighbour(
            lambda m, other: edit(
                m / BERT_SETTINGS, tokenizer_args={"tokenizer_file": str(other / "tokenizer.json")}
            )
        ),
        3,
        "tokenizer_file",
    ),
    "a method by modality_config": Hostile(
        set_json(
            BERT_SETTINGS,
            modality_config={"text": {"method": "push_to_hub", "method_output_name": "x"}},
            module_output_name="token_embeddings",
        ),
        3,
        "modality_config",
    ),
    "code by auto_map of the tokenizer's repository": Hostile(
        with_code(
            set_json(
                TOKENIZER_SETTINGS,
                tokenizer_class="EvilTokenizer",
                auto_map={"AutoTokenizer": ["some/repo--tokenization_evil.Tokenizer", None]},
            )
        ),
        0,
        "",
    ),
    "tokenizer file by tokenizer_config": Hostile(
        neighbour(
            lambda m, other: edit(
                m / TOKENIZER_SETTINGS,
                tokenizer_file=str(other / "tokenizer.json"),
                vocab_file=str(other / "tokenizer.json"),
                name_or_path=str(other),
                tokenizer_name_or_path=str(other),
            )
        ),
        0,
        "",
    ),
    "GGUF by tokenizer_config": Hostile(set_json(TOKENIZER_SETTINGS, gguf_file="../x.gguf"), 0, ""),
    "weights of another name": Hostile(
        config(transformers_weights="../weights.safetensors"), 3, "transformers_weights"
    ),
    "attention kernel of a repository": Hostile(
        config(
            _attn_implementation="some/repo:attention", attn_implementation="some/repo:attention"
        ),
        3,
        "attn_implementation",
    ),
    "quantization by a library": Hostile(
        config(quantization_config={"quant_method": "gptq", "bits": 4, "dataset": "../x"}),
        4,
        "quantization_config",
    ),
    "activation of the model that is a path": Hostile(
        config(hidden_act="torch.hub.load"), 3, "hidden_act"
    ),
    "adapter beside the weights": Hostile(adapter, 4, "adapter_config.json"),
    "activation that is a function of torch": Hostile(
        dense("torch.distributed.run.main"), 4, "activation_function"
    ),
    "activation that loads": Hostile(dense("torch.hub.load"), 4, "activation_function"),
    "activation that is a module with code": Hostile(
        dense("torch.nn.modules.module.Module"), 4, "activation_function"
    ),
    "module that reads any file": Hostile(
        last_module("sentence_transformers.util.http_get"), 4, "modules.json"
    ),
    "module of another package through ours": Hostile(
        last_module("sentence_transformers.base.model.os.system"), 4, "modules.json"
    ),
    "routes that name classes": Hostile(
        last_module(
            "sentence_transformers.models.Router",
            {"types": {"a": "evil.Module"}, "structure": {"q": ["a"]}, "parameters": {}},
        ),
        4,
        "evil.Module",
    ),
    "generation settings with code": Hostile(
        with_code(
            set_json("generation_config.json", custom_generate="evil", auto_map={"x": "evil.X"})
        ),
        0,
        "",
    ),
    "processor with code": Hostile(
        with_code(
            set_json(
                "processor_config.json",
                processor_class="EvilProcessor",
                auto_map={"AutoProcessor": "evil.Processor"},
            )
        ),
        0,
        "",
    ),
    "preprocessor with code": Hostile(
        with_code(
            set_json(
                "preprocessor_config.json",
                image_processor_type="EvilProcessor",
                auto_map={"AutoImageProcessor": "evil.Processor"},
            )
        ),
        0,
        "",
    ),
}

#: The same for a reranker.
RERANKER_CORPUS: dict[str, Hostile] = {
    "activation that starts processes": Hostile(
        config(sentence_transformers={"activation_fn": "torch.distributed.run.main"}),
        4,
        "activation_fn",
    ),
    "activation of an older release": Hostile(
        config(
            sentence_transformers=None,
            sbert_ce_default_activation_function="torch.distributed.run.main",
        ),
        4,
        "sbert_ce_default_activation_function",
    ),
    "activation that is a class but no module": Hostile(
        config(sentence_transformers={"activation_fn": "torch.utils.data.DataLoader"}),
        4,
        "activation_fn",
    ),
    "activation of somebody": Hostile(
        config(sentence_transformers={"activation_fn": "evil.Activation"}), 4, "activation_fn"
    ),
}
