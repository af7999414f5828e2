"""The table of options agrees with what the options take."""

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.errors import UsageError
from embconvert.request.options import Option

CHOOSING = {
    f"{name} --{option.name}": option
    for name, spec in COMMANDS.items()
    for option in spec.options.values()
    if option.choices
}


@pytest.mark.parametrize("option", CHOOSING.values(), ids=CHOOSING)
def test_an_option_takes_each_of_its_choices_and_no_other_word(option: Option) -> None:
    for word in option.choices:
        option.parse(word)
    with pytest.raises(UsageError):
        option.parse("no-such-word")


@pytest.mark.parametrize("option", CHOOSING.values(), ids=CHOOSING)
def test_the_hint_for_another_word_names_no_choice_that_shells_do_not_offer(
    option: Option,
) -> None:
    with pytest.raises(UsageError) as caught:
        option.parse("no-such-word")
    _, found, named = caught.value.hint.partition(" can be ")
    if found:
        assert set(named.split(", ")) <= set(option.choices)
