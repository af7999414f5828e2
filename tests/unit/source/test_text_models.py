"""A model that sentence-transformers cannot give a text is refused by its name."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.source.text_models import refuse_what_reads_no_text


class Bert:
    def forward(self, input_ids: Any = None, attention_mask: Any = None) -> None: ...


class Remote:
    def forward(self, *inputs: Any, **settings: Any) -> None: ...


class Vision:
    def forward(self, hidden_states: Any, grid_thw: Any, **settings: Any) -> None: ...


def refuse(ways: list[str], model: Any) -> None:
    module = SimpleNamespace(modality_config={way: {} for way in ways}, auto_model=model)
    refuse_what_reads_no_text(module, "some_vision")


@pytest.mark.parametrize("model", [Bert(), Remote(), None])
@pytest.mark.parametrize("ways", [["text"], ["image", "message"]])
def test_what_reads_tokens_is_not(ways: list[str], model: Any) -> None:
    refuse(ways, model)


def test_a_module_without_such_a_table_is_not() -> None:
    refuse_what_reads_no_text(SimpleNamespace(), "static")


@pytest.mark.parametrize(("ways", "model"), [(["image"], Bert()), (["text"], Vision())])
def test_others_are(ways: list[str], model: Any) -> None:
    with pytest.raises(UnsupportedModelError) as refused:
        refuse(ways, model)
    assert "cannot embed texts with the architecture some_vision" in refused.value.message
