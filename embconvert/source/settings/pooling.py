"""How a Pooling module's settings say its modes: by names, or by flags."""

from collections.abc import Mapping
from typing import Any

from embconvert.models.choices import PoolingMode

#: The flags of a Pooling module's settings before sentence-transformers 6.
POOLING_KEYS = {
    "pooling_mode_cls_token": PoolingMode.CLS,
    "pooling_mode_mean_tokens": PoolingMode.MEAN,
    "pooling_mode_max_tokens": PoolingMode.MAX,
    "pooling_mode_mean_sqrt_len_tokens": PoolingMode.MEAN_SQRT_LEN,
    "pooling_mode_weightedmean_tokens": PoolingMode.WEIGHTEDMEAN,
    "pooling_mode_lasttoken": PoolingMode.LASTTOKEN,
}


def pooling_modes(settings: Mapping[str, Any]) -> list[str]:
    """Returns the modes of a Pooling module's settings, which names or flags say; [] if none do.

    sentence-transformers prefers names to flags.
    """
    mode = settings.get("pooling_mode")
    if mode is not None:
        return [str(m) for m in mode] if isinstance(mode, list) else [str(mode)]
    return [name for key, name in POOLING_KEYS.items() if settings.get(key) is True]
