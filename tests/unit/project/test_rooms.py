"""Which rooms of the package start processes, open the network and end the process.

import-linter checks which rooms import which.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "embconvert"

STARTERS = {f"embconvert.processes.{name}" for name in ("worker", "workers", "program", "zygote")}
PROCESSES = {"subprocess", "multiprocessing", *STARTERS}
NETWORK = {
    "socket", "ssl", "http.client", "urllib.request", "httpx", "requests", "aiohttp",
    "huggingface_hub",
}  # fmt: skip
ENDINGS = {"sys.exit", "exit", "os._exit", "os.abort", "SystemExit"}


def users(names: set[str], *, of_calls: bool = False) -> set[str]:
    """The modules that import one of these or a part of it, or call one of these functions."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for name in (called if of_calls else imported)(ast.parse(path.read_text(encoding="utf-8")))
        if any(name == known or name.startswith(f"{known}.") for known in names)
    }


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


def rooms(modules: set[str]) -> set[str]:
    return {module.partition("/")[0] for module in modules}


def test_only_the_pipeline_and_the_api_start_processes() -> None:
    asks_git_for_the_commit = {"cli/version.py"}
    assert rooms(users(PROCESSES) - asks_git_for_the_commit) == {"api", "pipeline", "processes"}


def test_only_the_hub_opens_the_network() -> None:
    takes_it_from_workers = {"processes/no_network.py"}
    assert rooms(users(NETWORK) - takes_it_from_workers) == {"hub"}


def test_only_the_command_line_ends_the_process_and_workers_themselves() -> None:
    assert users(ENDINGS, of_calls=True) == {
        "cli/main.py", "processes/child.py", "processes/lifetime.py", "processes/signals.py",
    }  # fmt: skip
