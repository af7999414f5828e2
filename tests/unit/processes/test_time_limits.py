"""How long a task may take."""

import pytest

from embconvert.processes.time_limits import graph_limit, tokenizing_limit


def test_a_graph_may_take_longer_the_larger_it_is_and_by_each_text() -> None:
    small, large = graph_limit(10**6, None), graph_limit(10**10, None)
    assert large.seconds - small.seconds == 3000
    assert small.per_text > 0
    assert "--max_graph_seconds" in small.error.hint


def test_the_users_limit_of_a_graph_is_kept_exactly() -> None:
    limit = graph_limit(10**10, 7)
    assert (limit.seconds, limit.per_text) == (7, 0)
    assert "within 7 seconds" in limit.error.message


def test_the_environment_lowers_what_a_tokenizer_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokenizing_limit().seconds == 120
    monkeypatch.setenv("EMBCONVERT_TOKENIZING_SECONDS", "3")
    limit = tokenizing_limit()
    assert limit.seconds == 3
    assert "within 3 seconds" in limit.error.message
