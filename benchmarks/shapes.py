"""Embedding models of real shape with random weights, streamed to disk, for `make bench-memory`.

    python benchmarks/shapes.py bge-m3 FOLDER

Nothing but the configuration is looked at to name and shape the weights, so a model of any size is
written with a few megabytes of memory. The vocabulary has its real size; its tokenizer is trained
on the verification texts and filled up with words that no text has.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_SHARD_BYTES = 4 << 30
_BLOCK = 1 << 20
_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model.

    Attributes:
        model_type: transformers' name of its architecture.
        config: Arguments of its configuration.
        pooling: sentence-transformers' mode.
        max_seq_length: Tokens after which a text is cut.
        dtype: That its weights are stored in.
    """

    model_type: str
    config: Mapping[str, Any]
    pooling: str = "mean"
    max_seq_length: int = 512
    dtype: str = "float32"


def _bert(hidden: int, layers: int, heads: int, vocabulary: int = 30522) -> Mapping[str, Any]:
    return {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 4 * hidden, "vocab_size": vocabulary,
    }  # fmt: skip


#: By growing size. The figures are those of the models' config.json.
SHAPES: Mapping[str, Shape] = {
    "minilm-l6": Shape(model_type="bert", config=_bert(384, 6, 12)),
    "e5-small": Shape(model_type="bert", config=_bert(384, 12, 12, 250037)),
    "bert-base": Shape(model_type="bert", config=_bert(768, 12, 12)),
    "bert-large": Shape(model_type="bert", config=_bert(1024, 24, 16)),
    "bge-m3": Shape(
        model_type="xlm-roberta",
        config={
            **_bert(1024, 24, 16, 250002), "max_position_embeddings": 8194, "type_vocab_size": 1,
        },
        pooling="cls",
        max_seq_length=8192,
    ),
    "qwen3-embedding-0.6b": Shape(
        model_type="qwen3",
        config={
            "hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072,
            "vocab_size": 151669, "max_position_embeddings": 32768, "rope_theta": 1000000,
        },
        pooling="lasttoken",
        max_seq_length=32768,
    ),
    "e5-mistral-7b": Shape(
        model_type="mistral",
        config={
            "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000,
            "max_position_embeddings": 32768, "sliding_window": 4096,
        },
        pooling="lasttoken",
        max_seq_length=4096,
        dtype="bfloat16",
    ),
}  # fmt: skip


def build(shape: Shape, folder: Path) -> Path:
    """Writes a model.

    Args:
        shape: The model.
        folder: Where to; made if missing.

    Returns:
        The folder.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    folder.mkdir(parents=True, exist_ok=True)
    roles = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = AutoConfig.for_model(shape.model_type, **roles, **shape.config, dtype=shape.dtype)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    _save_tokenizer(shape, folder)
    _save_modules(shape, folder)
    _save_weights({n: tuple(t.shape) for n, t in model.state_dict().items()}, shape.dtype, folder)
    return folder


def _save_weights(shapes: Mapping[str, tuple[int, ...]], dtype: str, folder: Path) -> None:
    width = 2 if dtype == "bfloat16" else 4
    shards: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        length = int(np.prod(shape)) * width
        if size and size + length > _SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += length
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        file = file if len(shards) > 1 else "model.safetensors"
        weight_map |= dict.fromkeys(names, file)
        _save_shard({name: shapes[name] for name in names}, dtype, folder / file)
    if len(shards) > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def _save_shard(shapes: Mapping[str, tuple[int, ...]], dtype: str, path: Path) -> None:
    """Writes one safetensors file; see https://huggingface.co/docs/safetensors (format)."""
    width, code = (2, "BF16") if dtype == "bfloat16" else (4, "F32")
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in shapes.items():
        end = position + int(np.prod(shape)) * width
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            for values in _values(name, shape):
                if width == 2:  # bfloat16 is the upper half of a float32
                    stream.write((values.view(np.uint32) >> 16).astype(np.uint16).data)
                else:
                    stream.write(values.data)


def _values(name: str, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yields a weight's values: normal, of a size that keeps a layer's variance."""
    generator = np.random.default_rng(len(name) * 1000003 + sum(name.encode()))
    noise = generator.standard_normal(_BLOCK, dtype=np.float32)
    if len(shape) == 1:
        noise = noise * np.float32(0.02) + np.float32("norm" in name.lower() and "bias" not in name)
    elif "embed" not in name:
        noise /= np.float32(np.sqrt(shape[-1]))
    left = int(np.prod(shape))
    while left:
        # One block of noise, rolled: drawing 7 billion numbers would take minutes.
        block = np.roll(noise, int(generator.integers(_BLOCK)))[: min(left, _BLOCK)]
        left -= len(block)
        yield block


def _save_tokenizer(shape: Shape, folder: Path) -> None:
    import tokenizers as tk
    from transformers import PreTrainedTokenizerFast

    from embconvert.fidelity.texts import calibration_texts, verification_texts

    bpe = tk.Tokenizer(tk.models.BPE())
    bpe.pre_tokenizer = tk.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tk.decoders.ByteLevel()
    trainer = tk.trainers.BpeTrainer(
        vocab_size=20000,
        special_tokens=list(_SPECIAL_TOKENS),
        initial_alphabet=tk.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (*verification_texts().texts, *calibration_texts(None).texts)
    bpe.train_from_iterator(texts, trainer)
    document = json.loads(bpe.to_str())
    words = document["model"]["vocab"]
    fillers = (f"filler{n:06}" for n in range(len(words), shape.config["vocab_size"]))
    words |= {word: number for number, word in enumerate(fillers, len(words))}
    bpe = tk.Tokenizer.from_str(json.dumps(document))
    bpe.post_processor = tk.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        padding_side="left" if shape.pooling == "lasttoken" else "right",
        model_max_length=shape.max_seq_length,
        model_input_names=["input_ids", "attention_mask"],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        sep_token="</s>", cls_token="<s>", mask_token="<mask>",
    ).save_pretrained(folder)  # fmt: skip
    # The peers' transformers 4 knows no other name for it.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings))


def _save_modules(shape: Shape, folder: Path) -> None:
    names = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(names.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": shape.max_seq_length, "do_lower_case": False})
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    mode = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}[shape.pooling]
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps(
            {
                "word_embedding_dimension": shape.config["hidden_size"],
                f"pooling_mode_{mode}": True,
                **({} if mode == "mean_tokens" else {"pooling_mode_mean_tokens": False}),
            }
        )
    )


if __name__ == "__main__":
    print(build(SHAPES[sys.argv[1]], Path(sys.argv[2])))
