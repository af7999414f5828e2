"""What other programs call an option is understood, where its spelling suggests another one."""

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.models.suggestions import nearest
from embconvert.request.usual_names import instead_of, nearest_option

OPTIONS = COMMANDS["all"].options


@pytest.mark.parametrize(
    ("usual", "meant"),
    [
        ("out", "output_parent_dir"), ("output_dir", "output_parent_dir"),
        ("save_dir", "output_parent_dir"), ("precision", "quantize"), ("dtype", "quantize"),
        ("INT8", "quantize"), ("Q8", "quantize"), ("truncate_dim", "dimensions"),
        ("local_files_only", "offline"), ("validate", "full_validation"), ("verbose", "debug"),
    ],
)  # fmt: skip
def test_a_usual_name_is_that_of_its_option(usual: str, meant: str) -> None:
    assert meant in OPTIONS
    assert nearest(usual, OPTIONS) != meant
    assert nearest_option(usual, OPTIONS) == meant


def test_another_name_is_that_of_the_most_similar_option() -> None:
    assert nearest_option("quantise", OPTIONS) == "quantize"
    assert nearest_option("precision", {"min_cosine": 1}) is None


@pytest.mark.parametrize(
    ("usual", "instead"), [("token", "HF_TOKEN"), ("overwrite", "--output_parent_dir")]
)
def test_what_is_no_option_resembles_none(usual: str, instead: str) -> None:
    assert instead in (instead_of(usual) or "")
    assert nearest_option(usual, OPTIONS) is None
