"""Whether a model's embeddings may be truncated."""

from embconvert.errors import UsageError
from embconvert.json_files import MAX_JSON_BYTES, read_json
from embconvert.models.values import ResolvedModel
from embconvert.request.records import Request


def announces_dimensions(resolved: ResolvedModel) -> bool:
    """Whether a model declares support for truncation (Matryoshka training).

    It does so in its configuration (`matryoshka_dimensions`, `truncate_dim`) or on its model card.
    """
    settings = dict(resolved.config)
    for name in ("config_sentence_transformers.json", "README.md"):
        path = resolved.folder / name
        if name.endswith(".json") and path.is_file():
            settings |= read_json(path)
        elif path.is_file():
            with path.open(encoding="utf-8", errors="replace") as stream:
                if "matryoshka" in stream.read(MAX_JSON_BYTES).lower():
                    return True
    return bool(settings.get("matryoshka_dimensions") or settings.get("truncate_dim"))


def dimensions_problem(request: Request, resolved: ResolvedModel) -> str | None:
    """Returns why a model's embeddings should not be truncated; None if they may.

    Raises:
        UsageError: They should not, and --force_dimensions is not given.
    """
    if request.dimensions is None or announces_dimensions(resolved):
        return None
    problem = (
        f"{request.model_id} does not declare support for truncation: neither its configuration "
        "nor its model card mentions Matryoshka"
    )
    if request.force_dimensions:
        return f"{problem}; results may be worse"
    raise UsageError(
        problem, "remove --dimensions; or add --force_dimensions and expect worse results"
    )
