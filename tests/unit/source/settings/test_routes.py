"""The settings of a router, which come from the model's files."""

from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import SourceError, UnsupportedModelError, UsageError
from embconvert.json_files import write_json
from embconvert.source.settings.routes import Router, read_modules, read_router

LIBRARY = "sentence_transformers.models"
TRANSFORMER = {"path": "", "type": f"{LIBRARY}.Transformer"}
ROUTER = {"path": "1_Router", "type": f"{LIBRARY}.Router"}
NORMALIZE = {"path": "2_Normalize", "type": f"{LIBRARY}.Normalize"}
SETTINGS: dict[str, Any] = {
    "types": {"a": f"{LIBRARY}.Dense", "b": f"{LIBRARY}.Dense"},
    "structure": {"query": ["a", "b"], "document": ["b"]},
    "parameters": {},
}


def read(
    folder: Path, *entries: dict[str, str], file: str = "router_config.json", **changes: Any
) -> Router:
    write_json(folder / "modules.json", entries or (TRANSFORMER, ROUTER, NORMALIZE))
    (folder / "1_Router").mkdir(exist_ok=True)
    write_json(folder / "1_Router" / file, SETTINGS | changes)
    router = read_router(folder, read_modules(folder))
    assert router is not None
    return router


def test_a_route_is_a_chain_with_what_is_before_and_after_the_router(tmp_path: Path) -> None:
    router = read(tmp_path)
    paths = {name: [module.path for module in chain] for name, chain in router.chains.items()}
    assert paths == {
        "query": ["", "1_Router/a", "1_Router/b", "2_Normalize"],
        "document": ["", "1_Router/b", "2_Normalize"],
    }
    routed = router.chosen("query")
    assert (routed.first, routed.last, routed.place) == (1, 3, "")
    assert routed.published("1_Router/a/config.json") == "1_Router/a/config.json"
    assert routed.published("1_Router/router_config.json") is None


def test_the_transformer_of_a_route_is_published_at_the_root(tmp_path: Path) -> None:
    types = {"t": f"{LIBRARY}.Transformer", "u": f"{LIBRARY}.Transformer"}
    router = read(tmp_path, ROUTER, NORMALIZE, types=types, structure={"q": ["t"], "d": ["u"]})
    routed = router.chosen("d")
    assert routed.place == "1_Router/u"
    assert routed.published("1_Router/u/tokenizer.json") == "tokenizer.json"
    assert [entry["path"] for entry in routed.published_chain] == ["", "2_Normalize"]
    assert routed.route.calls == ("encode(task='d')",)
    assert router.chosen("q").route.is_default


def test_a_transformer_without_a_name_is_in_the_routers_own_folder(tmp_path: Path) -> None:
    """As in the inference-free models of OpenSearch, whose transformer is at the root."""
    types = {"": f"{LIBRARY}.MLMTransformer", "p": f"{LIBRARY}.SpladePooling"}
    router = read(tmp_path, ROUTER, types=types, structure={"document": ["", "p"]})
    assert [module.path for module in router.chains["document"]] == ["1_Router", "1_Router/p"]
    routed = router.chosen("document")
    assert routed.place == "1_Router"
    # The published folder's modules.json and files agree.
    assert [entry["path"] for entry in routed.published_chain] == ["", "1_Router/p"]
    assert routed.published("1_Router/tokenizer.json") == "tokenizer.json"
    assert routed.published("1_Router/p/config.json") == "1_Router/p/config.json"


def test_a_model_without_a_router_has_no_routes(tmp_path: Path) -> None:
    write_json(tmp_path / "modules.json", [TRANSFORMER, NORMALIZE])
    assert read_router(tmp_path, read_modules(tmp_path)) is None
    # A class of another package is remote code, whatever its name.
    write_json(tmp_path / "modules.json", [{"path": "", "type": "evil.Router"}])
    assert read_router(tmp_path, read_modules(tmp_path)) is None


def test_the_new_name_of_the_settings_file_comes_first(tmp_path: Path) -> None:
    read(tmp_path, file="config.json", structure={"old": ["a"]})
    assert list(read(tmp_path).chains) == ["query", "document"]
    (tmp_path / "1_Router" / "router_config.json").unlink()
    assert (
        read(tmp_path, file="config.json", structure={"old": ["a"]}).file == "1_Router/config.json"
    )


def test_routes_that_no_text_takes_are_left_out(tmp_path: Path) -> None:
    mappings = {"(None, 'text')": "document", "('query', ('image', 'text'))": "query"}
    router = read(tmp_path, parameters={"route_mappings": mappings})
    assert (router.names, router.left_out) == (("document",), ("query",))
    assert router.chosen("document").route.tasks[:2] == ("query", "document")
    with pytest.raises(UsageError, match="no text takes the route query"):
        router.chosen("query")


@pytest.mark.parametrize(
    "changes",
    [
        {"types": {"../a": f"{LIBRARY}.Dense"}, "structure": {"query": ["../a"]}},
        {"types": {"/etc": f"{LIBRARY}.Dense"}, "structure": {"query": ["/etc"]}},
        {"types": {"..": f"{LIBRARY}.Dense"}, "structure": {"query": [".."]}},
        {"types": {"": f"{LIBRARY}.Dense"}, "structure": {"query": [""]}},
        {"types": {"a\0": f"{LIBRARY}.Dense"}, "structure": {"query": ["a\0"]}},
        {"types": {"a": ["x"]}},
        {"structure": {"../../etc": ["a"]}},
        {"structure": {".": ["a"]}},
        {"structure": {"": ["a"]}},
        {"structure": {"a b": ["a"]}},
        {"structure": {"\x1b[2J": ["a"]}},
        {"structure": {"q" * 100: ["a"]}},
        {"structure": {"query": ["a"], "Query": ["b"]}},
        {"structure": {"query": ["missing"]}},
        {"structure": {"query": "a"}},
        {"structure": {}},
        {"structure": {f"r{number}": ["a"] for number in range(101)}},
        {"parameters": {"default_route": "other"}},
        {"parameters": {"default_route": 1}},
        {"parameters": {"route_mappings": {"('query', None)": "other"}}},
        {"parameters": {"route_mappings": {"__import__('os')": "query"}}},
        {"parameters": {"route_mappings": {"('a', 'b', 'c')": "query"}}},
        {"parameters": {"route_mappings": {"(1, None)": "query"}}},
        {"parameters": {"route_mappings": {r"('a\nb', None)": "query"}}},
        {"parameters": {"route_mappings": {r"('\ud800', None)": "query"}}},
        {"parameters": {"route_mappings": {"(" * 100_000: "query"}}},
    ],
)  # fmt: skip
def test_what_is_malformed_or_leads_elsewhere_is_refused(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SourceError):
        read(tmp_path, **changes)


def test_unknown_settings_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"parameters\.loader"):
        read(tmp_path, parameters={"loader": "os.system"})


def test_routers_in_routers_and_beside_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="inside the router"):
        read(tmp_path, types=SETTINGS["types"] | {"b": f"{LIBRARY}.Asym"})
    with pytest.raises(UnsupportedModelError, match="two routers"):
        read(tmp_path, TRANSFORMER, ROUTER, ROUTER | {"path": "2_Router"})


def test_a_route_without_any_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a route without modules"):
        read(tmp_path, ROUTER, structure={"query": [], "document": ["a"]})
