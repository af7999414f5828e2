"""Forms of files that are derived from published graphs."""

import pytest

from embconvert.models.forms import (
    ENDINGS,
    FORMS,
    FileForm,
    FormKind,
    is_onnx,
    is_timed,
    most_tokens,
)
from embconvert.models.shapes import Shape

FIXED = FileForm(kind=FormKind.SHAPE, shape=Shape(texts=2, tokens=128))
ORT = FileForm(kind=FormKind.ORT)


@pytest.mark.parametrize(
    ("form", "source", "file"),
    [
        (FIXED, "onnx/model.onnx", "onnx/model_2x128.onnx"),
        (ORT, "onnx/model_opt1_QInt8.onnx", "onnx/model_opt1_QInt8.ort"),
        (ORT, "onnx/model_2x128.onnx", "onnx/model_2x128.ort"),
    ],
)
def test_a_file_has_its_source_name_with_the_form(form: FileForm, source: str, file: str) -> None:
    assert form.file(source) == file


def test_what_is_asked_of_files_of_several_forms() -> None:
    assert most_tokens([]) is None
    assert most_tokens([ORT]) is None
    assert most_tokens([FIXED, ORT]) == 128
    assert [is_onnx(forms) for forms in ([], [FIXED], [FIXED, ORT])] == [True, True, False]
    assert [is_timed(forms) for forms in ([], [ORT], [FIXED, ORT])] == [True, True, False]


def test_every_kind_is_in_the_table_and_its_files_are_known_as_derived() -> None:
    assert set(FORMS) == set(FormKind)
    assert {ending for rules in FORMS.values() for ending in rules.endings} == set(ENDINGS)
