"""The tables of settings know every key that the installed libraries read.

After an upgrade these tests name the new keys. Decide in embconvert/source/settings what becomes of
each, then record them: python tests/support/library_keys.py
"""

import importlib.util
import json

import pytest

from embconvert.source.settings.files import TABLES
from embconvert.source.settings.modules import MODULE_ENTRY, MODULES, WHOLE_MODEL
from embconvert.source.settings.rules import SettingsTable, Use
from embconvert.source.settings.transformer_module import TRANSFORMER
from support.command_line import ROOT
from support.library_keys import library_keys, text_fields

pytestmark = pytest.mark.integration

RECORDED = json.loads((ROOT / "tests/support/library_keys.json").read_text(encoding="utf-8"))

#: Arguments of sentence-transformers' own constructors, which no file can set.
_NOT_IN_FILES = {"model_name_or_path", "backend", "_from_auto_load", "trust_remote_code"}


@pytest.fixture(scope="module")
def installed() -> dict[str, list[str]]:
    return library_keys()


def test_no_library_reads_a_key_that_nobody_has_looked_at(installed: dict[str, list[str]]) -> None:
    new = {
        file: sorted(set(keys) - set(RECORDED.get(file, ())))
        for file, keys in installed.items()
        if set(keys) - set(RECORDED.get(file, ()))
    }
    assert new == {}


def test_text_in_a_configuration_passes_under_known_names_only() -> None:
    """Numbers pass under any name, so only what may be text must be in the table."""
    unknown = {name for name in text_fields() if not TABLES["config.json"].knows(name)}
    assert unknown == set()


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("artifact.metadata", TABLES["artifact.metadata"]),
        ("config_sentence_transformers.json", WHOLE_MODEL),
        ("modules.json", MODULE_ENTRY),
        ("sentence_bert_config.json", TRANSFORMER),
    ],
)
def test_every_key_of_a_file_is_in_its_table(
    file: str, table: SettingsTable, installed: dict[str, list[str]]
) -> None:
    # A part of __version__, which is looked at as a whole.
    inner = {"sentence_transformers"} if table is WHOLE_MODEL else set()
    keys = set(installed[file]) - _NOT_IN_FILES - inner
    assert {key for key in keys if not table.knows(key)} == set()


def test_every_parameter_of_a_module_is_in_its_table(installed: dict[str, list[str]]) -> None:
    found = {name.removeprefix("module "): keys for name, keys in installed.items()}
    for name, rules in MODULES.items():
        if rules.unsupported is None and rules.path:
            keys = set(found[name]) - _NOT_IN_FILES
            assert {key for key in keys if not rules.table.knows(key)} == set(), name


def test_every_class_of_module_is_in_the_table(installed: dict[str, list[str]]) -> None:
    classes = {name.removeprefix("module ") for name in installed if name.startswith("module ")}
    abstract = {"BaseTokenPooling", "InputModule"}
    assert classes - abstract <= set(MODULES)


def test_a_path_of_a_module_is_that_of_its_class() -> None:
    from sentence_transformers.util import import_from_string

    for name, rules in MODULES.items():
        if rules.unsupported is None and rules.path:
            assert import_from_string(rules.path).__name__ == name


def test_the_page_of_settings_is_that_of_the_tables() -> None:
    """`make docs` writes it."""
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs/make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == made.page()


def test_keys_of_the_tokenizer_that_name_files_are_never_read() -> None:
    for table in (TABLES["tokenizer_config.json"], TABLES["special_tokens_map.json"]):
        for key in RECORDED["tokenizer_config.json"]:
            if key.endswith(("_file", "_files", "_path", "_spm")) or key in ("vocab", "merges"):
                assert table.setting(key).use is not Use.READ, key
