"""Code for a graph that reads texts."""

from embconvert.foreign_text import python_string
from embconvert.manifest import ArtifactRecord
from embconvert.models.forms import TEXT_INPUT, TEXT_OUTPUT, FormKind
from embconvert.reporting.snippet_parts import ServedModel, Snippet, comparison_lines


def is_text(record: ArtifactRecord) -> bool:
    return any(form.kind is FormKind.TEXT for form in record.forms)


def text_snippet(model: ServedModel) -> Snippet:
    """Returns the code for ONNX Runtime with onnxruntime-extensions, and nothing else.

    The arrays are the same in every language: C and Go register the library in the same way.
    """
    record, home = model.graph, model.home
    package = library = ""
    path = python_string(f"{home.reference}/{record.path}")
    if home.on_hub:
        package, library = " huggingface_hub", "from huggingface_hub import hf_hub_download\n"
        revision = f", revision={python_string(home.revision)}" if home.revision else ""
        path = (
            f"hf_hub_download({python_string(home.name)}, {python_string(record.path)}{revision})"
        )
    runtime = python_string(f"onnxruntime>={record.min_onnxruntime}")
    return Snippet(
        key="texts",
        title="ONNX Runtime, from texts",
        code=f"""\
# pip install {runtime} onnxruntime-extensions numpy{package}
import numpy as np
import onnxruntime
{library}from onnxruntime_extensions import get_library_path

options = onnxruntime.SessionOptions()
options.register_custom_ops_library(get_library_path())
session = onnxruntime.InferenceSession(
    {path}, options
)
texts = {model.texts.in_python}
(embeddings,) = session.run(["{TEXT_OUTPUT}"], {{"{TEXT_INPUT}": np.array(texts, dtype=object)}})
{comparison_lines(model)}""",
    )
