"""Tiny random models that read texts and images, as plain transformers folders."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from support import zoo

_SIZES = {
    "hidden_size": zoo.HIDDEN_SIZE, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64,
}  # fmt: skip
_TEXT = {**_SIZES, "vocab_size": zoo.VOCAB_SIZE, "pad_token_id": zoo.PAD_ID}
_IDS = {"bos_token_id": zoo.BOS_ID, "eos_token_id": zoo.EOS_ID}
#: As short as the real ones' 77 and 64 tokens, measured in texts of the zoo.
POSITIONS = 40
_TOWER = {**_TEXT, **_IDS, "max_position_embeddings": POSITIONS}
_PATCHES = {**_SIZES, "image_size": 32, "patch_size": 16}
_PROJECTION = {"projection_dim": zoo.DENSE_SIZE}

_QWEN = {**_TEXT, **_IDS, "num_key_value_heads": 2, "max_position_embeddings": zoo.MAX_POSITIONS}
_ROTARY = {"rope_type": "default", "rope_theta": 10000.0}
_EYES = {"depth": 1, "embed_dim": 32, "hidden_size": zoo.HIDDEN_SIZE, "num_heads": 2}
_QWEN2_VL = {
    "text_config": {**_QWEN, "rope_parameters": {**_ROTARY, "mrope_section": [1, 1, 2]}},
    "vision_config": {**_EYES, "mlp_ratio": 2},
}

#: What configuration classes get, by model type.
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "clip": {
        "text_config": {**_TOWER, **_PROJECTION},
        "vision_config": {**_PATCHES, **_PROJECTION},
        **_PROJECTION,
    },
    "colpali": {
        "vlm_config": {
            "model_type": "paligemma",
            "text_config": {"model_type": "gemma", **_QWEN, "head_dim": 8},
            "vision_config": {"model_type": "siglip_vision_model", **_PATCHES},
            "projection_dim": zoo.HIDDEN_SIZE,
            "image_token_index": 3,
        },
        "embedding_dim": 16,
    },
    "colqwen2": {"vlm_config": {"model_type": "qwen2_vl", **_QWEN2_VL}, "embedding_dim": 16},
    "embedding_gemma2": {
        "text_config": {
            **_QWEN,
            "head_dim": 8,
            "global_head_dim": 16,
            "num_global_key_value_heads": 1,
            "hidden_size_per_layer_input": 16,
            "embedding_dim": zoo.DENSE_SIZE,
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": 8,
        },
        "vision_config": {
            "model_type": "gemma4_vision",
            **_SIZES,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "global_head_dim": 8,
            "patch_size": 4,
        },
        "audio_config": None,
    },
    "qwen2_vl": _QWEN2_VL,
    "qwen3_vl": {
        "text_config": {
            **_QWEN,
            "head_dim": 8,
            "rope_parameters": {**_ROTARY, "mrope_section": [2, 1, 1]},
        },
        "vision_config": {
            **_EYES,
            "out_hidden_size": zoo.HIDDEN_SIZE,
            "intermediate_size": 64,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 16,
        },
    },
    "siglip": {
        "text_config": {**_TOWER, "projection_size": zoo.HIDDEN_SIZE},
        "vision_config": _PATCHES,
    },
    "siglip2": {
        "text_config": {**_TOWER, "projection_size": zoo.HIDDEN_SIZE},
        "vision_config": {**_SIZES, "num_patches": 16, "patch_size": 16},
    },
}


#: A chat template such as that of Qwen3-VL-Embedding, with an instruction by default.
TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nRepresent the user's input."
    "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{{ part.text }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: The classes of those that AutoModel does not know.
RETRIEVERS = {"colpali": "ColPaliForRetrieval", "colqwen2": "ColQwen2ForRetrieval"}
#: Those whose texts are filled up to their length.
FILLED_UP = ("siglip", "siglip2")


@contextlib.contextmanager
def without_images() -> Iterator[None]:
    """Makes sentence-transformers load models without libraries for images: it reads texts only."""
    from sentence_transformers.base.modules import transformer
    from transformers import AutoProcessor, AutoTokenizer

    transformer.AutoProcessor = AutoTokenizer
    try:
        yield
    finally:
        transformer.AutoProcessor = AutoProcessor


def settings_of(model_type: str, said: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    """Returns arguments of a configuration class: what a real one says, in the sizes of `CONFIGS`.

    Args:
        model_type: A key of `CONFIGS`.
        said: A real configuration, or some keys of it.
        ids: Of the tokens that it names.
    """
    tiny = CONFIGS[model_type]
    found = {k: v for k, v in {**said, **tiny}.items() if k != "model_type"}
    for key, part in tiny.items():
        if isinstance(part, Mapping):
            own = said.get(key, {})
            named = {k: ids.get(k, ids.get("eos_token_id", 0)) for k in own if k in _IDS}
            found[key] = {**own, **part, **named}
    return found


def random_model(
    model_type: str, settings: Mapping[str, Any] | None = None, *, seed: int = 0
) -> Any:
    """Returns a model of transformers in float32.

    Args:
        model_type: A key of `CONFIGS`.
        settings: Of its configuration class, if others than these.
        seed: Of the weights.
    """
    import transformers

    config = transformers.AutoConfig.for_model(model_type, **(settings or CONFIGS[model_type]))
    if model_type in RETRIEVERS:
        model = getattr(transformers, RETRIEVERS[model_type])(config)
    else:
        model = transformers.AutoModel.from_config(config)
    zoo.randomize(model, zoo.Recipe(), seed)
    return model


def query_vectors(folder: Path, texts: Sequence[str], limit: int) -> list[Any]:
    """Returns the token vectors of queries, read as the processors of ColQwen2 and ColPali do.

    Args:
        limit: Tokens of a query; what is after its text stays.
    """
    import torch
    import transformers

    model_type = json.loads((folder / "config.json").read_text())["model_type"]
    model_class = getattr(transformers, RETRIEVERS[model_type])
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    is_colpali = model_type == "colpali"
    before = f"{tokenizer.bos_token}Question: " if is_colpali else "Query: "

    def tokens(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=not is_colpali)["input_ids"]
        return ids

    after = tokens(tokenizer.pad_token * 10 + "\n")
    rows = [tokens(f"{before}{text}")[: limit - len(after)] + after for text in texts]
    for row, text in zip(rows, texts, strict=True):
        whole = tokens(f"{before}{text}{tokenizer.pad_token * 10}\n")
        assert row == whole or len(whole) > limit
    inputs = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
    if is_colpali:
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    with torch.no_grad():
        found = model(**inputs).embeddings
    kept = zip(found, inputs["attention_mask"].bool(), strict=True)
    return [vectors[mask].numpy() for vectors, mask in kept]


def build(model_type: str, folder: Path) -> Path:
    """Builds a model with the tokenizer and the settings of an image processor."""
    folder.mkdir(parents=True)
    random_model(model_type).save_pretrained(folder)
    zoo.save_tokenizer(folder, model_max_length=POSITIONS)
    if model_type in FILLED_UP:  # they read texts without a mask
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "model_input_names": ["input_ids"]}))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "CLIPImageProcessor", "processor_class": "A"})
    )
    return folder
