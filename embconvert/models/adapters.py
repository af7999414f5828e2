"""LoRA adapters: which are asked for, and how they are merged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from embconvert.overriding import override

#: An adapter's settings (PEFT).
ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class AdapterChoice:
    """One adapter of `--adapter`.

    Attributes:
        name: A hub id, a local folder, or the name of a folder of the model's own files.
        revision: On the hub; None means the default branch.
        weight: Factor of what it adds.
    """

    name: str
    revision: str | None = None
    weight: float = 1.0

    @override
    def __str__(self) -> str:
        """As on the command line."""
        at = "" if self.revision is None else f"@{self.revision}"
        times = "" if self.weight == 1 else f"={self.weight:g}"
        return f"{self.name}{at}{times}"


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """How the matrices of an adapter become what is added to the weights.

    Attributes:
        ranks: Other ranks, by pattern of module names.
        alphas: Other alphas, by the same.
        is_rank_stabilized: Whether the factor is alpha / sqrt(rank) (rsLoRA).
        has_magnitudes: Whether it also has the norms of the merged rows (DoRA).
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    is_rank_stabilized: bool = False
    has_magnitudes: bool = False
