"""Parts of the code that shows how fastembed loads a graph."""

from embconvert.foreign_text import python_string
from embconvert.reporting.snippet_parts import (
    ServedModel,
    download_lines,
    files_of_graph,
    python_arguments,
)


def fastembed_name(model: ServedModel) -> str:
    """Returns Python for the model's name in fastembed: on the main branch the repository's id."""
    home = model.home
    is_main = home.on_hub and home.revision is None
    return python_string(home.name if is_main else f"local/{home.short_name}")


def fastembed_folder(model: ServedModel) -> tuple[str, str]:
    """Returns Python that makes sure of the files, and the argument that says where they are.

    fastembed finds a repository by itself, and knows no branches.
    """
    home = model.home
    if not home.on_hub:
        return "", f", specific_model_path={python_string(home.reference)}"
    if home.revision is None:
        return "", ""
    lines = download_lines(model, "*.json", *files_of_graph(model))
    return (
        f"from huggingface_hub import snapshot_download\n\n{lines}",
        ", specific_model_path=folder",
    )


def fastembed_arguments(model: ServedModel, **further: str) -> str:
    """Returns Python for the description of a model that fastembed does not know."""
    return python_arguments(
        model=fastembed_name(model),
        sources=f"ModelSource(hf={fastembed_name(model)})",
        model_file=python_string(model.graph.path),
        additional_files=_additional_files(model),
        **further,
    )


def _additional_files(model: ServedModel) -> str | None:
    """Returns Python for the files beside the graph that fastembed must have; None without."""
    external = model.graph.external_data
    return None if external is None else f"[{python_string(external.path)}]"
