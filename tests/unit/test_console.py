"""What a process shows, and a relay, which leaves the process alone."""

import logging
import os
from io import StringIO
from itertools import count

import pytest
from rich.console import Console as RichConsole

from embconvert.console import Console, Progress, Relay, progress_bars, show_library_messages
from embconvert.tables import Column


def test_a_request_without_debug_is_quiet_after_one_with_it() -> None:
    before = dict(os.environ)
    show_library_messages(True)
    shown = dict(os.environ)
    Console(quiet=False, debug=True)
    show_library_messages(False)
    assert shown != before == dict(os.environ)


def test_messages_and_warnings_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    before = list(logging.getLogger().handlers)
    console = Relay(told.append)
    console.say("export: a\nb")
    console.warn("low")
    console.table("figures", [Column(title="file")], [["a"]])
    assert told == [
        Progress(message="export: a b"), Progress(message="low", is_warning=True),
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == before


def test_progress_is_told_at_most_ten_times_a_second_and_at_its_end() -> None:
    told: list[Progress] = []
    seconds = count(step=0.01)
    with Relay(told.append, clock=lambda: next(seconds)).progress("verifying", 100) as advance:
        for _ in range(100):
            advance(1)
    done = [progress.done for progress in told]
    assert (done[0], done[-1]) == (0, 100)
    assert len(done) < 15
    assert {(progress.message, progress.total) for progress in told} == {("verifying", 100)}


def test_nobody_need_listen() -> None:
    console = Relay(None)
    console.say("unheard")
    with console.progress("verifying", 1) as advance:
        advance(1)


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_shortens_the_bar_and_not_the_words(width: int) -> None:
    shown = StringIO()
    bars = progress_bars(RichConsole(file=shown, width=width))
    bars.update(bars.add_task("running onnx/model_opt1_Q4.onnx", total=302), completed=17)
    bars.console.print(bars)
    (line,) = shown.getvalue().splitlines()
    assert line.startswith("running onnx/model_opt1_Q4.onnx ")
    assert line.rstrip().endswith(" 17/302, 0 s")
