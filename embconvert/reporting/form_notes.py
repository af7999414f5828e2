"""What a user of files of other forms needs to know: how to pad, and code."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from embconvert.foreign_text import python_string
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.layouts import is_of_layout
from embconvert.models.forms import FormKind, PaddingRecord
from embconvert.models.shapes import Shape
from embconvert.reporting.home import Home
from embconvert.reporting.snippet_parts import Snippet, side_argument
from embconvert.reporting.snippets import served_model, snippets
from embconvert.reporting.text_snippet import is_text, text_snippet


@dataclass(frozen=True, kw_only=True)
class FormNote:
    """A file of another form.

    Attributes:
        shape: None for a file that runs any batch.
        operators: The file with the operators that a reduced build needs; None without one.
        left_out: Number of texts that were not compared, because they are longer than the shape.
    """

    record: ArtifactRecord
    shape: Shape | None
    is_ort: bool
    is_text: bool
    operators: str | None
    left_out: int

    @property
    def padding(self) -> PaddingRecord | None:
        return self.record.padding


def form_notes(manifest: Manifest) -> list[FormNote]:
    """Returns the further files of other forms, in the manifest's order."""
    return [_note(record) for record in _further(manifest)]


def _further(manifest: Manifest) -> list[ArtifactRecord]:
    """Returns the files of forms that are not the layout's own."""
    return [r for r in manifest.artifacts if not is_of_layout(manifest.layout, r.forms)]


def _note(record: ArtifactRecord) -> FormNote:
    is_ort = any(form.kind is FormKind.ORT for form in record.forms)
    shapes = [form.shape for form in record.forms if form.shape is not None]
    return FormNote(
        record=record,
        shape=shapes[-1] if shapes else None,
        is_ort=is_ort,
        is_text=is_text(record),
        operators=record.beside[0].path if is_ort and record.beside else None,
        left_out=record.fidelity.left_out if record.fidelity else 0,
    )


def form_snippets(manifest: Manifest, folder: Path, *, home: Home) -> tuple[Snippet, ...]:
    """Returns the code for the first file of each form; the arguments are those of snippets()."""
    first = {tuple(map(str, record.forms)): record for record in reversed(_further(manifest))}
    return tuple(
        found
        for forms, record in sorted(first.items())
        if forms
        for found in (
            (text_snippet(served_model(manifest, record, folder, home)),)
            if is_text(record)
            else _for_onnxruntime(manifest, record, folder, home)
        )
    )


def _for_onnxruntime(
    manifest: Manifest, record: ArtifactRecord, folder: Path, home: Home
) -> Iterator[Snippet]:
    note = _note(record)
    limits = [manifest.source.max_seq_length, note.shape.tokens if note.shape else None]
    limit = min((known for known in limits if known is not None), default=None)
    shortened = replace(manifest, source=replace(manifest.source, max_seq_length=limit))
    for snippet in snippets(shortened, record, folder, home=home):
        if snippet.key != "onnxruntime":
            continue
        title = f"ONNX Runtime, {', '.join(map(str, record.forms))}"
        code = snippet.code
        if note.shape is not None and note.padding is not None:
            side = side_argument(served_model(manifest, record, folder, home))
            code = _with_padding(code, note.shape, note.padding, side)
        yield replace(snippet, title=title, code=code)


def _with_padding(code: str, shape: Shape, padding: PaddingRecord, side: str) -> str:
    """Returns code for any batch as code that pads to a shape; `side` is from side_argument()."""
    loaded = 'tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")\n'
    pads = f"""\
tokenizer.enable_truncation({shape.tokens}{side})
tokenizer.enable_padding(
    length={shape.tokens},
    direction="{padding.side}",
    pad_id={padding.token_id},
    pad_type_id={padding.type_id},
    pad_token={python_string(padding.token)},
)
"""
    before, opened, after = code.partition("session = onnxruntime.InferenceSession(")
    path, end, rest = after.partition("\n")
    run = f"""

def run(outputs, feed):
    \"\"\"Runs {shape.texts} at a time; the last one fills up a batch.\"\"\"
    size, parts = len(feed["input_ids"]), []
    for start in range(0, size, {shape.texts}):
        rows = np.minimum(np.arange(start, start + {shape.texts}), size - 1)
        parts.append(session.run(outputs, {{name: x[rows] for name, x in feed.items()}}))
    return [np.concatenate(arrays)[:size] for arrays in zip(*parts)]

"""
    rest = rest.replace("session.run(", "run(").replace(
        f"tokenizer.enable_truncation(limit{side})",
        f"tokenizer.enable_truncation(min(limit, {shape.tokens}){side})",
    )
    return before.replace(loaded, loaded + pads) + opened + path + end + run + rest
