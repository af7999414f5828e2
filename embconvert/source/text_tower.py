"""Models with a tower for each kind of input, such as CLIP and SigLIP: the tower that reads texts.

Such a model has a method that gives the vector of a text, with a pooling and a projection of its
own, and no other modules are needed.
"""

import inspect
from collections.abc import Callable
from typing import Any

from embconvert.errors import UnsupportedModelError

#: Architectures that take the vector of the last place, which is one of padding: their texts are
#: filled up to the number of positions, without a mask. sentence-transformers fills texts up to the
#: longest of a batch unless its settings say otherwise. Source:
#: transformers.models.siglip.modeling_siglip.SiglipModel.get_text_features (5.24), and siglip2's.
_FILLED_UP = ("siglip", "siglip2")
#: Those whose token vectors are projected at the end. Source:
#: transformers.models.embedding_gemma2.modeling_embedding_gemma2 (5.24).
_PROJECTED = ("embedding_gemma2", "embedding_gemma2_text")


def settle_text_tower(transformer: Any, warn: Callable[[str], None]) -> None:
    """Prepares a sentence-transformers Transformer that gives a text's vector; others stay.

    Its token vectors become `token_embeddings`, as those of other models are, and its texts are
    filled up as the architecture needs.
    """
    if getattr(transformer, "module_output_name", None) != "sentence_embedding":
        return
    if "text" not in transformer.modality_config:  # such as dpr, which is refused for that
        return
    _keep_token_vectors(transformer)
    if transformer.config.model_type not in _FILLED_UP:
        return
    said = transformer.processing_kwargs.setdefault("text", {})
    # What is padding is known from the mask only, which the model does not get.
    said["return_attention_mask"] = True
    positions = transformer.config.get_text_config().max_position_embeddings
    transformer.max_seq_length = min(transformer.max_seq_length, positions)
    length = said.get("max_length") or transformer.max_seq_length
    if said.setdefault("padding", "max_length") == "max_length":
        warn(
            f"texts are padded to {length} tokens, as this architecture was trained; "
            "sentence-transformers may pad them to the longest text of a batch instead, which "
            "gives other vectors"
        )
    else:
        raise UnsupportedModelError(
            "the model's settings pad texts to the longest of a batch, and this architecture takes "
            "the vector of the last place: a text would have another vector in each batch",
            "remove padding from processing_kwargs in a copy of sentence_bert_config.json",
        )


def settle_pooling(chain: Any) -> None:
    """Corrects the size that sentence-transformers assumes of a plain model's token vectors.

    EmbeddingGemma 2 projects them to another than its hidden size.
    """
    transformer = chain[0]
    config = getattr(transformer, "config", None)
    if getattr(config, "model_type", None) not in _PROJECTED:
        return
    from sentence_transformers.sentence_transformer.modules import Pooling

    size = transformer.config.get_text_config().embedding_dim
    for number, module in enumerate(chain):
        if isinstance(module, Pooling):
            chain[number] = Pooling(size, module.pooling_mode)


def _keep_token_vectors(transformer: Any) -> None:
    method = getattr(transformer.model, transformer.modality_config["text"]["method"])
    read = transformer.tokenizer.model_input_names
    names = [name for name in inspect.signature(method).parameters if name in read]

    def forward(features: dict[str, Any], **_: Any) -> dict[str, Any]:
        output = method(**{name: features[name] for name in names if name in features})
        if not (hasattr(output, "last_hidden_state") and hasattr(output, "pooler_output")):
            raise UnsupportedModelError(
                f"{transformer.config.model_type} gives no token vectors of a text",
                "choose a model of another architecture; embconvert's docs/architectures.md lists "
                "them",
            )
        return {
            **features,
            "token_embeddings": output.last_hidden_state,
            "sentence_embedding": output.pooler_output,
        }

    transformer.forward = forward
