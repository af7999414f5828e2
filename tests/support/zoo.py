"""Tiny embedding models with random weights, built on disk in well under a second each.

The weights are drawn large on purpose: with transformers' own initialisation (std 0.02) attention
is all but uniform, so a forgotten mask, window, soft-cap or position bias would stay below any
tolerance. Here each of them moves the embeddings visibly.
"""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Varied in length (1 to 60 tokens), script and content; also what the tokenizer is trained on.
SENTENCES: tuple[str, ...] = (
    "a",
    "Hello",
    "The cat sat on the mat.",
    "A cat was sitting on a mat.",
    "How do I reset my password?",
    "Stock prices fell sharply on Monday.",
    "query: weather in Paris tomorrow",
    "passage: Tomorrow it will rain in Paris, with strong wind in the evening.",
    "def add(a, b):\n    return a + b",
    "https://example.org/search?q=embedding&page=2",
    "3.14159 2.71828 1.41421",
    "   spaces   and\ttabs   ",
    "SHOUTING IN CAPITALS!!!",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Où est la bibliothèque la plus proche ?",
    "El perro duerme en la cocina.",
    "Быстрая лиса прыгает.",
    "今日は天気がいい",
    "机器学习模型",
    "مرحبا بالعالم",
    "I love this! 😀🎉",
    "👩‍🚀🚀",
    "The transformer reads a sentence at once, weighs its words and returns one vector.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, "
    "it was the age of foolishness, it was the season of light.",
)

#: More tokens than any `max_seq_length` that the tests use: must be truncated.
LONG_SENTENCE = " ".join(SENTENCES)

VOCAB_SIZE = 400
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
PAD_ID, BOS_ID, EOS_ID, UNK_ID, MASK_ID = range(len(SPECIAL_TOKENS))
HIDDEN_SIZE = 32
DENSE_SIZE = 24
#: The tokenizer's own limit, which holds where `max_seq_length` is None.
MAX_POSITIONS = 128
#: Where the tokenizers of the other builders cut texts.
USUAL_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to build one architecture small.

    Attributes:
        config: Arguments of its configuration class, on top of `COMMON`.
        model_class: Class in transformers to build; None for what AutoModel takes.
        token_type_ids: Whether its real tokenizers return token_type_ids.
        gain: How far the matrices stretch their input; 1 keeps its variance.
        embedding_std: Spread of the embedding tables.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    model_class: str | None = None
    token_type_ids: bool = False
    gain: float = 1.5
    embedding_std: float = 1.0


_IDS = {"pad_token_id": PAD_ID, "bos_token_id": BOS_ID, "eos_token_id": EOS_ID}
_SIZES = {"hidden_size": HIDDEN_SIZE, "num_hidden_layers": 2, "num_attention_heads": 4}
_MORE_SIZES = {"intermediate_size": 64, "max_position_embeddings": MAX_POSITIONS}
COMMON = {"vocab_size": VOCAB_SIZE, **_IDS, **_SIZES, **_MORE_SIZES}
# Roberta-like models number positions from pad_token_id + 1, so the table needs spare rows.
_OFFSET_POSITIONS = {"max_position_embeddings": MAX_POSITIONS + 4}
_CLS_SEP = {"cls_token_id": BOS_ID, "sep_token_id": EOS_ID}
_GQA = {"num_key_value_heads": 2}
_GEMMA = {**_GQA, "head_dim": 8, "query_pre_attn_scalar": 8}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
# Bidirectional, a window counts both sides: 16 is 8 to each.
_LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
_EMBEDDING_GEMMA = {**_LAYERS, "use_bidirectional_attention": True, "sliding_window": 16}
# Relative positions reach less far than a sentence: the farthest are clipped or share a bucket.
_DEBERTA = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_relative_positions": 16,
    "position_biased_input": False,
}
_DEBERTA_V3 = {"position_buckets": 8, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
_T5_BIAS = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 16}
_T5 = {"d_kv": 8, "d_ff": 64, "decoder_start_token_id": PAD_ID, **_T5_BIAS}
# Gemma multiplies its embeddings by sqrt(hidden); unscaled, they would drown what the layers add.
_GEMMA_EMBEDDING_STD = HIDDEN_SIZE**-0.5
# Tables, by a part of their name, whose spread is not the recipe's. All tokens share one row of
# the type tables: as large as the words, it would make all sentences alike.
_TABLE_STD = {"relative_attention_bias": 1.0, "_type_embeddings": 0.3}

ARCHITECTURES: dict[str, Recipe] = {
    "albert": Recipe(config={"embedding_size": 16}, token_type_ids=True),
    "bert": Recipe(token_type_ids=True),
    "big_bird": Recipe(config=_CLS_SEP, token_type_ids=True),
    "camembert": Recipe(config={**_OFFSET_POSITIONS, "type_vocab_size": 1}),
    "convbert": Recipe(config={"embedding_size": 16, "conv_kernel_size": 5}, token_type_ids=True),
    "deberta": Recipe(config=_DEBERTA, token_type_ids=True),
    "deberta-v2": Recipe(config={**_DEBERTA, **_DEBERTA_V3}, token_type_ids=True),
    "distilbert": Recipe(config={"hidden_dim": 64}),
    "electra": Recipe(config={"embedding_size": 16}, token_type_ids=True),
    "ernie": Recipe(config={"use_task_id": True, "task_type_vocab_size": 3}, token_type_ids=True),
    "eurobert": Recipe(config={**_GQA, "mask_token_id": MASK_ID}),
    "gemma": Recipe(
        config={**_GQA, "head_dim": 8, "hidden_act": "gelu"}, embedding_std=_GEMMA_EMBEDDING_STD
    ),
    "gemma2": Recipe(
        config={**_GEMMA, "sliding_window": 8, "attn_logit_softcapping": 2.0},
        embedding_std=_GEMMA_EMBEDDING_STD,
    ),
    "gemma3_text": Recipe(
        config={**_GEMMA, **_EMBEDDING_GEMMA}, embedding_std=_GEMMA_EMBEDDING_STD
    ),
    "gte": Recipe(token_type_ids=True),
    "jina_embeddings_v3": Recipe(config={"type_vocab_size": 1}),
    # A convolution and an attention.
    "lfm2": Recipe(config={**_GQA, "layer_types": ["conv", "full_attention"]}),
    "llama": Recipe(config=_GQA),
    # Windows are total widths: 4 to each side.
    "longformer": Recipe(config={**_OFFSET_POSITIONS, **_CLS_SEP, "attention_window": [8, 8]}),
    "megatron-bert": Recipe(token_type_ids=True),
    "mistral": Recipe(config={**_GQA, "sliding_window": 8}),
    "mixtral": Recipe(config={**_GQA, **_EXPERTS}),
    "mobilebert": Recipe(
        # Its layers do not normalize, so any stretching would compound.
        gain=0.7,
        config={"embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2},
        token_type_ids=True,
    ),
    # Layers: global, local, local; 16 means 8 to each side.
    "modernbert": Recipe(config={**_CLS_SEP, "num_hidden_layers": 3, "local_attention": 16}),
    # Not with fewer relative_attention_num_buckets: transformers looks up 32 whatever it says.
    "mpnet": Recipe(config=_OFFSET_POSITIONS),
    "mt5": Recipe(config=_T5, model_class="MT5EncoderModel"),
    "nomic_bert": Recipe(token_type_ids=True),
    "phi3": Recipe(config={**_GQA, "sliding_window": 8}),
    "qwen2": Recipe(config=_GQA),
    "qwen3": Recipe(config={**_GQA, "head_dim": 8}),
    "roberta": Recipe(config={**_OFFSET_POSITIONS, "type_vocab_size": 1}),
    "t5": Recipe(config=_T5, model_class="T5EncoderModel"),
    "xlm-roberta": Recipe(config={**_OFFSET_POSITIONS, "type_vocab_size": 1}),
}


def save_tokenizer(
    folder: Path,
    padding_side: str = "right",
    token_type_ids: bool = False,
    model_max_length: int = MAX_POSITIONS,
) -> None:
    """Trains the byte-level BPE tokenizer on `SENTENCES` and saves it; always the same ids.

    Args:
        folder: Where to; must exist.
        padding_side: "right" or "left".
        token_type_ids: Whether it returns token_type_ids.
        model_max_length: Tokens, special ones included, beyond which it truncates when asked.
    """
    import tokenizers as tk
    from transformers import PreTrainedTokenizerFast
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    pad, bos, eos, unk, mask = SPECIAL_TOKENS
    byte_level = tk.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe = tk.Tokenizer(tk.models.BPE())
    # Qwen2's pipeline: AutoTokenizer insists on it for that model_type, whatever tokenizer.json
    # says, so this is the one with which every architecture gets the same ids.
    bpe.normalizer = tk.normalizers.NFC()
    split = tk.pre_tokenizers.Split(tk.Regex(PRETOKENIZE_REGEX), behavior="isolated")
    bpe.pre_tokenizer = tk.pre_tokenizers.Sequence([split, byte_level])
    bpe.decoder = tk.decoders.ByteLevel()
    trainer = tk.trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=byte_level.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    bpe.post_processor = tk.processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} $B:1 {eos}:1",
        special_tokens=[(bos, BOS_ID), (eos, EOS_ID)],
    )
    roles = {"bos": bos, "eos": eos, "unk": unk, "sep": eos, "pad": pad, "cls": bos, "mask": mask}
    named = {f"{role}_token": token for role, token in roles.items()}
    types = ["token_type_ids"] if token_type_ids else []
    # The class that no architecture owns: AutoTokenizer then reads tokenizer.json as it stands.
    PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        padding_side=padding_side,
        model_max_length=model_max_length,
        model_input_names=["input_ids", *types, "attention_mask"],
        **named,
    ).save_pretrained(folder)
    # transformers 5 no longer writes it, but the models on the Hub have it.
    (folder / "special_tokens_map.json").write_text(json.dumps(named, indent=2), encoding="utf-8")


def randomize(module: Any, recipe: Recipe, seed: int) -> None:
    """Redraws every parameter, large enough that no part of the model goes unnoticed."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Embedding)}
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if id(parameter) in tables:
                # Also the row of <pad>: a mask that is not applied then shows.
                std = next((s for key, s in _TABLE_STD.items() if key in name), None)
                parameter.copy_(noise * (recipe.embedding_std if std is None else std))
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif parameter.ndim == 1:
                # A norm's weight varies around its start: 1, but 0 in Gemma, which adds the 1.
                parameter.add_(0.2 * noise)
            else:
                # T5 does not divide attention scores by sqrt(d_kv): its queries carry that factor.
                shrink = math.sqrt(module.config.d_kv) if "SelfAttention.q." in name else 1.0
                # All experts are in one parameter.
                own = parameter.shape[1:] if "experts" in name else parameter.shape
                fan_in = math.prod(own[1:])
                parameter.copy_(noise * recipe.gain / (shrink * math.sqrt(fan_in)))


def settings_of(architecture: str, **changes: Any) -> dict[str, Any]:
    """Returns arguments of an architecture's configuration class."""
    return {**COMMON, **ARCHITECTURES[architecture].config, **changes}


def random_model(
    architecture: str, settings: Mapping[str, Any], *, seed: int, auto_class: str = "AutoModel"
) -> Any:
    """Returns a model of transformers with random weights, in float32.

    Args:
        architecture: A key of `ARCHITECTURES`.
        settings: See `settings_of`.
        seed: Of the weights.
        auto_class: Of transformers; says which head the model has.
    """
    import transformers

    recipe = ARCHITECTURES[architecture]
    config = transformers.AutoConfig.for_model(architecture, **settings)
    if auto_class == "AutoModel" and recipe.model_class:
        model = getattr(transformers, recipe.model_class)(config)
    else:
        model = getattr(transformers, auto_class).from_config(config)
    randomize(model, recipe, seed)
    return model


def leave_most_words_out(model: Any) -> None:
    """Makes a masked language model leave most words out of most texts, as trained ones do."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.shape == (VOCAB_SIZE,):
                parameter.sub_(10.0)
                assert "bias" in name


def _save(
    model: Any, folder: Path, recipe: Recipe, limit: int, padding_side: str = "right"
) -> None:
    """Saves a model of transformers with its tokenizer, which cuts at the limit."""
    model.save_pretrained(folder)
    save_tokenizer(folder, padding_side, recipe.token_type_ids, limit)


#: Architectures that real rerankers have; each has a head that scores in transformers.
RERANKERS: tuple[str, ...] = (
    "bert", "deberta-v2", "distilbert", "electra", "modernbert", "qwen3", "roberta", "xlm-roberta",
)  # fmt: skip


def build_reranker(
    architecture: str,
    folder: Path,
    *,
    labels: int = 1,
    modules: bool = True,
    activation: str | None = None,
    seed: int = 0,
    dtype: str = "float32",
    max_seq_length: int | None = 64,
) -> Path:
    """Builds a tiny cross-encoder with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        folder: Where to; made if missing.
        labels: How many scores a pair gets.
        modules: Whether sentence-transformers saves it, with modules.json; else it is a plain
            transformers folder.
        activation: The torch class that predict() applies; None leaves it to its default.
        seed: Of the weights.
        dtype: Name of the torch dtype that the weights are saved in.
        max_seq_length: The tokenizer's limit; None leaves it at `MAX_POSITIONS`.

    Returns:
        The folder.
    """
    import torch

    recipe = ARCHITECTURES[architecture]
    model = random_model(
        architecture, settings_of(architecture, num_labels=labels), seed=seed,
        auto_class="AutoModelForSequenceClassification",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)

    model = model.to(getattr(torch, dtype))
    limit = max_seq_length or MAX_POSITIONS
    _save(model, folder, recipe, limit)
    if modules:
        from sentence_transformers import CrossEncoder

        function = None if activation is None else getattr(torch.nn, activation)()
        chain = CrossEncoder(str(folder), device="cpu", activation_fn=function)
        chain.save_pretrained(str(folder), create_model_card=False)
        _save(model, folder, recipe, limit)  # again, over what went through a load
    return folder


def build_static(
    folder: Path,
    *,
    size: int = HIDDEN_SIZE,
    dense: bool = False,
    dtype: str = "float32",
) -> Path:
    """Builds a tiny model of sentence-transformers' StaticEmbedding with random weights.

    Args:
        folder: Where to; made if missing.
        size: Numbers in a vector.
        dense: Whether to add a Dense module (to `DENSE_SIZE`).
        dtype: Name of the torch dtype that the weights are saved in.

    Returns:
        The folder.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        save_tokenizer(Path(scratch))
        tokenizer = Tokenizer.from_file(f"{scratch}/tokenizer.json")
    table = torch.randn((VOCAB_SIZE, size), generator=generator)
    modules: list[Any] = [StaticEmbedding(tokenizer, table.to(getattr(torch, dtype)))]
    if dense:
        layer = Dense(size, DENSE_SIZE)
        randomize(layer, Recipe(), 0)
        modules.append(layer.to(getattr(torch, dtype)))
    chain = SentenceTransformer(modules=[*modules, Normalize()], device="cpu")
    chain.save_pretrained(str(folder), create_model_card=False)
    return folder


def build_model2vec(
    folder: Path,
    *,
    size: int = HIDDEN_SIZE,
    clusters: int | None = None,
    weights: bool = False,
    seed: int = 0,
    dtype: str = "float32",
    **config: Any,
) -> Path:
    """Builds a tiny model in model2vec's own format, which does not know most words.

    Args:
        folder: Where to; made if missing.
        size: Numbers in a vector.
        clusters: Rows of the table, several tokens to each; None for a row per token.
        weights: Whether each token has a weight.
        seed: Of the numbers.
        dtype: Name of numpy's type of the table.
        config: Settings, such as normalize and max_length.

    Returns:
        The folder.
    """
    import numpy as np
    import tokenizers as tk
    from safetensors.numpy import save_file

    words = tk.Tokenizer(tk.models.WordPiece(unk_token="[UNK]"))
    words.normalizer = tk.normalizers.BertNormalizer()
    words.pre_tokenizer = tk.pre_tokenizers.BertPreTokenizer()
    trainer = tk.trainers.WordPieceTrainer(
        vocab_size=160, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    words.train_from_iterator([s for s in SENTENCES if s.isascii()], trainer)
    words.post_processor = tk.processors.TemplateProcessing(
        single="[PAD] $A", special_tokens=[("[PAD]", 0)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    words.save(str(folder / "tokenizer.json"))
    tokens = words.get_vocab_size()
    random = np.random.default_rng(seed)
    table = random.normal(size=(clusters or tokens, size))
    stored = {"embeddings": (table * (40 if dtype == "int8" else 1)).clip(-127, 127).astype(dtype)}
    if clusters:
        stored["mapping"] = random.integers(0, clusters, tokens)
    if weights:
        stored["weights"] = random.uniform(0.1, 3, tokens)
    save_file(stored, folder / "model.safetensors")
    named = {"model_type": "model2vec", "architectures": ["StaticModel"], **config}
    (folder / "config.json").write_text(json.dumps(named), encoding="utf-8")
    return folder


#: What sentence-transformers renders as one text: the roles of a pair, and a prompt before them.
PAIR_TEMPLATE = (
    "<s>system\n{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}"
    "{% endfor %}\n<Query>: {{ (messages | selectattr('role', 'eq', 'query') | first).content }}\n"
    "<Document>: {{ (messages | selectattr('role', 'eq', 'document') | first).content }}</s>\n"
    "<s>assistant\n{% if add_generation_prompt %}is it?\n\n{% endif %}"
)


def build_generative_reranker(
    architecture: str,
    folder: Path,
    *,
    template: str | None = PAIR_TEMPLATE,
    false_token: bool = True,
    prompts: Mapping[str, str] | None = None,
    seed: int = 0,
    dtype: str = "float32",
    max_seq_length: int = 64,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Builds a tiny causal model whose next token is the score, with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        folder: Where to; made if missing.
        template: The chat template; None for a model that reads pairs.
        false_token: Whether a second token's logit is subtracted.
        prompts: By name; the first is the default one.
        seed: Of the weights.
        dtype: Name of the torch dtype that the weights are saved in.
        max_seq_length: The tokenizer's limit.
        overrides: Configuration arguments that replace those of the recipe.

    Returns:
        The folder.
    """
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    recipe = ARCHITECTURES[architecture]
    model = random_model(
        architecture, settings_of(architecture, **(overrides or {})), seed=seed,
        auto_class="AutoModelForCausalLM",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    model = model.to(getattr(torch, dtype))
    _save(model, folder, recipe, max_seq_length)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    calls = {"chat_template": {"add_generation_prompt": True}} if template is not None else None
    transformer = Transformer(
        str(folder), transformer_task="text-generation", processing_kwargs=calls
    )
    score = LogitScore(true_token_id=70, false_token_id=81 if false_token else None)
    chain = CrossEncoder(
        modules=[transformer, score], device="cpu", prompts=dict(prompts or {}),
        default_prompt_name=next(iter(prompts or {}), None),
    )  # fmt: skip
    chain.save_pretrained(str(folder), create_model_card=False)
    model.save_pretrained(folder)  # again, over what went through a load
    return folder


#: Architectures that real late-interaction models have.
LATE_INTERACTION_MODELS: tuple[str, ...] = ("bert", "modernbert", "xlm-roberta")


def build_late_interaction(
    architecture: str,
    folder: Path,
    *,
    expansion: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    projection: Sequence[Mapping[str, Any]] = ({"out_features": 16},),
) -> Path:
    """Builds a tiny late-interaction model with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        folder: Where to; made if missing.
        expansion: Query expansion, as sentence-transformers' Transformer takes it.
        dtype: Name of the torch dtype that the weights are saved in.
        projection: Arguments of each Dense, which is without bias and activation otherwise.

    Returns:
        The folder.
    """
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    recipe = ARCHITECTURES[architecture]
    with tempfile.TemporaryDirectory() as scratch:
        plain = build_model(architecture, Path(scratch) / "plain", pooling=None, dtype=dtype)
        transformer = Transformer(
            str(plain), query_expansion=dict(expansion) if expansion else None, document_length=48
        )
        usual = {
            "bias": False, "activation_function": torch.nn.Identity(),
            "module_input_name": "token_embeddings",
        }  # fmt: skip
        sizes = [HIDDEN_SIZE, *(layer["out_features"] for layer in projection)]
        layers = [
            Dense(**{"in_features": size, **usual, **layer})
            for size, layer in zip(sizes, projection, strict=False)
        ]
        for number, layer in enumerate(layers):
            randomize(layer.to(getattr(torch, dtype)), recipe, number)
        modules = [
            transformer, *layers, MultiVectorMask([".", ",", "!"]),
            Normalize(module_input_name="token_embeddings"),
        ]  # fmt: skip
        chain = MultiVectorEncoder(
            modules=modules,
            device="cpu",
            prompts={"query": "query: ", "document": "passage: "},
        )
        chain.save_pretrained(str(folder), create_model_card=False)
        for file in ("model.safetensors", "config.json"):  # not what went through a load
            (folder / file).write_bytes((plain / file).read_bytes())
    save_tokenizer(folder, "right", recipe.token_type_ids, USUAL_LENGTH)
    return folder


#: Architectures that real sparse models have; each has a masked language model in transformers.
SPARSE_MODELS: tuple[str, ...] = ("bert", "distilbert", "modernbert", "xlm-roberta")


def build_sparse(
    architecture: str,
    folder: Path,
    *,
    modules: bool = True,
    strategy: str = "max",
    activation: str = "relu",
    max_active_dims: int | None = None,
    dtype: str = "float32",
) -> Path:
    """Builds a tiny SPLADE model with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        folder: Where to; made if missing.
        modules: Whether sentence-transformers saves it, with modules.json; else it is a plain
            masked language model.
        strategy: SpladePooling's, "max" or "sum".
        activation: SpladePooling's, "relu" or "log1p_relu".
        max_active_dims: How many dimensions are left other than zero; None for all.
        dtype: Name of the torch dtype that the weights are saved in.

    Returns:
        The folder.
    """
    import torch

    recipe = ARCHITECTURES[architecture]
    model = random_model(
        architecture, settings_of(architecture), seed=0, auto_class="AutoModelForMaskedLM"
    )
    leave_most_words_out(model)
    folder.mkdir(parents=True, exist_ok=True)

    model = model.to(getattr(torch, dtype))
    _save(model, folder, recipe, USUAL_LENGTH)
    if modules:
        from sentence_transformers import SparseEncoder
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sparse_encoder.modules import SpladePooling

        transformer = Transformer(str(folder), transformer_task="fill-mask")
        pooling = SpladePooling(strategy, activation)
        chain = SparseEncoder(
            modules=[transformer, pooling], device="cpu", max_active_dims=max_active_dims
        )
        chain.save_pretrained(str(folder), create_model_card=False)
        _save(model, folder, recipe, USUAL_LENGTH)  # again, over what went through a load
    return folder


#: The files of heads over token vectors, with the numbers that they give per token.
HEADS = {"sparse_linear.pt": 1, "colbert_linear.pt": DENSE_SIZE}


def add_heads(folder: Path, heads: Mapping[str, int] = HEADS) -> Path:
    """Adds BGE-M3's heads to a model, in half precision as there.

    Args:
        folder: Of the model.
        heads: Numbers per token, by file.
    """
    import torch

    torch.manual_seed(0)
    for file, size in heads.items():
        layer = torch.nn.Linear(HIDDEN_SIZE, size)
        torch.nn.init.normal_(layer.weight, std=HIDDEN_SIZE**-0.5)
        torch.save(layer.half().state_dict(), folder / file)
    return folder


def build_model(
    architecture: str,
    folder: Path,
    *,
    pooling: str | None = "mean",
    dense: bool = False,
    normalize: bool = True,
    padding_side: str = "right",
    seed: int = 0,
    dtype: str = "float32",
    max_seq_length: int | None = 64,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Builds a tiny embedding model with random weights.

    Args:
        architecture: A key of `ARCHITECTURES`.
        folder: Where to; made if missing.
        pooling: A mode of sentence-transformers' Pooling; None for a plain transformers folder
            without modules.json, where `dense` and `normalize` have no effect.
        dense: Whether to add a Dense module (to `DENSE_SIZE`, with Tanh) after the pooling.
        normalize: Whether to end in a Normalize module.
        padding_side: The tokenizer's, "right" or "left".
        seed: Of the weights.
        dtype: Name of the torch dtype that the weights are saved in.
        max_seq_length: The tokenizer's limit; None leaves it at `MAX_POSITIONS`.
        overrides: Configuration arguments that replace those of the recipe.

    Returns:
        The folder.
    """
    import torch

    recipe = ARCHITECTURES[architecture]
    settings = settings_of(architecture, **(overrides or {}))
    model = random_model(architecture, settings, seed=seed)
    model = model.to(getattr(torch, dtype)).eval()
    limit = max_seq_length or MAX_POSITIONS

    folder.mkdir(parents=True, exist_ok=True)
    if pooling is None:
        _save(model, folder, recipe, limit, padding_side)
        return folder

    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with tempfile.TemporaryDirectory() as scratch:
        _save(model, Path(scratch), recipe, limit, padding_side)
        modules: list[Any] = [Transformer(scratch)]
    size = int((overrides or {}).get("hidden_size", HIDDEN_SIZE))
    modules.append(Pooling(size, pooling_mode=pooling))
    if dense:
        layer = Dense(size, DENSE_SIZE, activation_function=torch.nn.Tanh())
        randomize(layer, recipe, seed)
        modules.append(layer.to(getattr(torch, dtype)))
    if normalize:
        modules.append(Normalize())
    chain = SentenceTransformer(modules=modules, device="cpu")
    chain.save_pretrained(str(folder), create_model_card=False)
    # Again, over what went through a load: that adds this machine's settings to the files.
    _save(model, folder, recipe, limit, padding_side)
    return folder
