"""Values that several options have."""

import pytest

from embconvert.request.options import OPTIONS, Option


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.choices], ids=lambda o: str(o.name))
def test_a_choice_is_understood_in_any_case(option: Option) -> None:
    for word in option.choices:
        assert option.parse(word.upper()) == option.parse(word.lower()) == option.parse(word)
