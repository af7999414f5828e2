"""Names that options have in other programs."""

from collections.abc import Collection, Mapping

from embconvert.models.choices import PRECISION_SYNONYMS, Precision
from embconvert.models.suggestions import nearest

#: By option. The spelling alone suggests another one: `--route` for `--out`.
_USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "model_id": ("m", "model", "model_name", "model_name_or_path", "name", "path", "repo", "input"),
    "output_parent_dir": (
        "o", "out", "out_dir", "outdir", "output_dir", "output_folder", "output_path", "dir",
        "destination", "save_dir", "target_dir",
    ),
    "quantize": (
        "precision", "dtype", "torch_dtype", "quant", "quantization", "weight_format", "bits",
        *PRECISION_SYNONYMS, *(precision.value.lower() for precision in Precision),
    ),
    "optimize": ("level", "opt_level", "optimization_level", "o1", "o2", "o3", "o4"),
    "dimensions": ("dim", "dims", "truncate_dim", "matryoshka_dim"),
    "min_cosine": ("threshold", "atol", "tolerance", "min_similarity"),
    "skip_validation": ("no_validation", "no_validate", "no_verify", "skip_verification"),
    "full_validation": ("validate", "validation"),
    "offline": ("local_files_only", "local"),
    "debug": ("verbose", "v"),
}  # fmt: skip
_OPTION_OF = {name: option for option, names in _USUAL_NAMES.items() for name in names}

_TOKEN = "set the environment variable HF_TOKEN"
_AGAIN = (
    "files that are not up to date are made again; to make all again, give another "
    "--output_parent_dir"
)
#: What is no option, and what to do instead.
_INSTEAD: Mapping[str, str] = {
    **dict.fromkeys(("token", "hf_token", "auth_token", "use_auth_token"), _TOKEN),
    **dict.fromkeys(("force", "overwrite"), _AGAIN),
}


def instead_of(name: str) -> str | None:
    """Returns what other programs' option `name` corresponds to if that is no option, else None."""
    return _INSTEAD.get(name.lower())


def nearest_option(name: str, known: Collection[str]) -> str | None:
    """Returns the known option that was probably meant by `name`, or None if none is near."""
    usual = _OPTION_OF.get(name.lower())
    if usual in known:
        return usual
    return None if instead_of(name) else nearest(name, known)
