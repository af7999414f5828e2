"""Layers that a model divides by powers of two before it reads its first text, as RWKV does."""

from typing import Any


def keep_scale(transformer: Any) -> None:
    """Settles a sentence-transformers Transformer on its weights as they are stored.

    RWKV's layers are halved so that half-precision numbers do not overflow; its norms make the
    division good. It is done in place, which weights in their files cannot take. Source:
    transformers.models.rwkv.modeling_rwkv.RwkvModel._rescale_layers (5.24).
    """
    model = getattr(transformer, "auto_model", None)
    for part in model.modules() if model is not None else ():
        if hasattr(part, "layers_are_rescaled"):
            part.config.rescale_every = 0
