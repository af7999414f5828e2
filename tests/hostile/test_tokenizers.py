"""Tokenizer files: each is converted right, or ends in an error that names it, in bounded time."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import zoo
from support.command_line import files_in
from support.corpus import Hostile, edit
from support.faulty_runs import Runner
from support.tokenizer_corpus import FOUND, HARMLESS, OTHER_FILES, REFUSED, split

pytestmark = pytest.mark.integration

#: A template that is small, and takes longer than anybody waits.
LOOPS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}{{ messages[0]['content'] }}"
)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Runs that give tokenizers a few seconds only."""
    made = Runner(tmp_path_factory.mktemp("runner"), {"EMBCONVERT_TOKENIZING_SECONDS": "3"})
    yield made
    made.close()


def check(
    case: Hostile, good: Path, runner: Runner, tmp_path: Path, *options: object, wait_s: float = 60
) -> None:
    model = tmp_path / "models" / "model"
    shutil.copytree(good, model)
    case.spoil(model)
    before = files_in(tmp_path)
    start = time.monotonic()
    run = runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        *options,
    )  # fmt: skip
    assert time.monotonic() - start < wait_s
    assert "Traceback" not in run.stderr
    assert "panicked" not in run.stderr
    assert run.code == case.code, run.stderr[-3000:]
    if case.code:
        (error,) = run.errors
        assert case.message in error
        assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_tokenizer_may_not_say(
    name: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    check(REFUSED[name], tiny_bert, runner, tmp_path, "--skip_validation")


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_when_it_is_used(
    name: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    check(FOUND[name], tiny_bert, runner, tmp_path)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_odd_and_right(name: str, runner: Runner, tiny_bert: Path, tmp_path: Path) -> None:
    check(HARMLESS[name], tiny_bert, runner, tmp_path)


@pytest.mark.parametrize("name", OTHER_FILES)
def test_files_that_a_tokenizer_is_made_of(
    name: str, runner: Runner, tiny_bert: Path, tmp_path: Path
) -> None:
    """Without a tokenizer.json, transformers makes one of them."""
    model = tmp_path / "models" / "model"
    shutil.copytree(tiny_bert, model)
    OTHER_FILES[name](model)
    run = runner.run(
        tmp_path / "out", "export", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--skip_validation",
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    assert "panicked" not in run.stderr
    assert run.code in (0, 3, 4), run.stderr[-3000:]
    assert len(run.errors) == (run.code != 0)


def test_a_pattern_that_takes_forever(impatient: Runner, tiny_bert: Path, tmp_path: Path) -> None:
    """Each place of a text costs a little less than what its library allows."""
    slow = Hostile(split(r"(?:.|..){1,16}(?<=\d{9})"), 3, "tokenizer.json")
    check(slow, tiny_bert, impatient, tmp_path)


def _in_settings(model: Path) -> None:
    edit(model / "tokenizer_config.json", chat_template=LOOPS)


def _in_a_file(model: Path) -> None:
    (model / "chat_template.jinja").write_text(LOOPS)


def _on_one_line(model: Path) -> None:
    (model / "chat_template.jinja").write_text("{{ 'x' * 10**12 }}")


@pytest.fixture(scope="module")
def plain_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without modules, for which sentence-transformers asks the template."""
    return zoo.build_model("qwen3", tmp_path_factory.mktemp("plain") / "decoder", pooling=None)


@pytest.mark.parametrize("spoil", [_in_settings, _in_a_file, _on_one_line])
def test_chat_template_of_a_plain_model(
    spoil: Callable[[Path], None], runner: Runner, plain_decoder: Path, tmp_path: Path
) -> None:
    """It would be around each text, and no graph has it; it is never run."""
    case = Hostile(spoil, 4, "chat template")
    check(case, plain_decoder, runner, tmp_path, "--skip_validation")


def test_chat_template_of_a_model_of_texts(runner: Runner, tmp_path: Path) -> None:
    """Its modules say that it reads texts; many embedding models have such a leftover."""
    good = zoo.build_model("qwen3", tmp_path / "good", pooling="lasttoken")
    check(Hostile(_in_a_file, 0, ""), good, runner, tmp_path)
