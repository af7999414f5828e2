"""Figures as words."""


def cosine_text(value: float) -> str:
    """Returns a cosine with as many digits as tell it from 1."""
    return f"{value:.5f}" if value < 0.99999 else f"{value:.7f}"


def loss_text(value: float) -> str:
    """Returns a difference of cosines."""
    return f"−{value:.4f}" if value >= 0.0001 else f"−{value:.1e}"
