"""Files that a user names: pipes, devices, endless and gigantic ones, and lists that explode."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embconvert.errors import SeveralErrors, UsageError
from embconvert.fidelity.texts import calibration_texts
from embconvert.fleet.entries import read_entries
from embconvert.fleet.shards import matrix
from embconvert.request.records import BatchRequest
from support.command_line import ROOT, Outcome

pytestmark = pytest.mark.integration

MEMORY_BYTES = 2 << 30


def run(*words: object, cwd: Path | None = None, timeout_s: float = 60) -> Outcome:
    """Runs a command line that may take neither long nor much memory, on any input."""
    done = subprocess.run(
        ["sh", "-c", f'ulimit -v {MEMORY_BYTES >> 10}; exec "$@"', "sh",
         sys.executable, "-m", "embconvert", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=timeout_s, cwd=cwd,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_refused(outcome: Outcome, code: int, message: str) -> None:
    assert outcome.code == code, outcome.stderr[-2000:]
    error, hint = outcome.stderr.strip().splitlines()[-2:]
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: ")
    assert "Traceback" not in outcome.stderr
    assert len(error) < 2000


def named_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def socket_file(path: Path) -> Path:
    import socket

    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)
        made.bind(path.name)
    return path


def link_to(target: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return make


NOT_REGULAR: dict[str, tuple[Callable[[Path], Path], str]] = {
    "endless device": (lambda _: Path("/dev/zero"), "is a device, not a regular file"),
    "link to a device": (link_to("/dev/zero"), "is a device, not a regular file"),
    "pipe": (named_pipe, "is a named pipe, not a regular file"),
    "folder": (lambda path: path.parent, "is a folder, not a regular file"),
    "socket": (socket_file, "is a socket, not a regular file"),
    "missing": (lambda path: path, "cannot be read: No such file or directory"),
    "link in a circle": (link_to("file"), "cannot be read: Too many levels"),
}
#: Every option and operand that names one file to read.
NAMED_FILES: dict[str, tuple[int, tuple[str, ...]]] = {
    "calibration": (2, ("all", "--model_id", "MODEL", "--quantize", "QInt8",
                        "--calibration_dataset", "FILE")),
    "calibration dry run": (2, ("all", "--model_id", "MODEL", "--quantize", "QInt8", "--dry_run",
                                "--calibration_dataset", "FILE")),
    "list": (2, ("batch", "FILE")),
    "graph": (3, ("optimize", "--model_id", "MODEL", "--model_path", "FILE")),
}  # fmt: skip


@pytest.mark.parametrize("kind", NOT_REGULAR)
@pytest.mark.parametrize("named", NAMED_FILES)
def test_what_is_no_regular_file_is_refused_at_once(
    named: str, kind: str, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make, message = NOT_REGULAR[kind]
    file = make(tmp_path / "file")
    code, words = NAMED_FILES[named]
    known = {"MODEL": str(tiny_bert), "FILE": str(file)}
    outcome = run(*(known.get(word, word) for word in words), cwd=tmp_path)
    assert_refused(outcome, code, message)


def test_a_list_in_a_batch_may_not_name_a_device_to_calibrate(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models:\n- {model_id: a/b, quantize: QInt8, calibration_dataset: /dev/zero}\n")
    assert_refused(run("batch", file), 2, "/dev/zero is a device")


def sparse(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size_bytes)
    return path


def test_a_gigantic_file_is_refused_without_reading_it(tiny_bert: Path, tmp_path: Path) -> None:
    file = sparse(tmp_path / "file", 1 << 40)
    assert_refused(run("batch", file), 2, "is over 16 MiB")
    words = ("all", "--model_id", tiny_bert, "--quantize", "QInt8", "--calibration_dataset", file)
    assert_refused(run(*words), 2, "has more than 1 MiB in line 1")


@pytest.mark.parametrize(
    ("line", "count", "message"),
    [
        (b"x" * (1 << 20) + b"\n", 60, None),
        (b"x" * ((1 << 20) + 1) + b"\n", 1, "has more than 1 MiB in line 1"),
        (b"x" * 1023 + b"\n", 1 << 16, None),
        (b"x" * 1023 + b"\n", (1 << 16) + 1, "is over 64 MiB"),
        (b"x\n", 1_000_000, None),
        (b"x\n", 1_000_001, "has more than 1,000,000 texts"),
        (b"\n", 1 << 20, "has no texts"),
        (b"good\n\xff\n", 1, "is not UTF-8: invalid start byte at byte 1, in line 2"),
        (b"", 1, "has no texts"),
    ],
)
def test_the_bounds_of_calibration_texts(
    line: bytes, count: int, message: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(line * count)
    if message is None:
        assert len(calibration_texts(file).texts) == count
    else:
        with pytest.raises(UsageError, match=message.replace(".", r"\.")):
            calibration_texts(file)


def test_the_bounds_are_said_in_the_help() -> None:
    said = " ".join(run("all", "--help").stdout.split())
    assert "at most 64 MiB, 1 MiB per line and 1,000,000 texts" in said
    said = " ".join(run("batch", "--help").stdout.split())
    assert "at most 16 MiB and 100,000 models" in said


def test_a_file_whose_size_says_nothing_is_bounded() -> None:
    """A file of /proc says that it is empty, and this one is endless."""
    with pytest.raises(UsageError, match=r"more than|UTF-8"):
        calibration_texts(Path("/proc/self/pagemap"))


ALIASES = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
LISTS = {
    "aliases": (f"{ALIASES}models: [x]", "aliases are not supported"),
    "an alias of itself": ("models: &m [*m]", "aliases are not supported"),
    "a merge key": ("models:\n- &b {model_id: a/b}\n- {<<: *b}", "aliases are not supported"),
    "a merge key of a mapping": ("models:\n- {<<: {model_id: a/b}}", "'<<' is not an option"),
    "flow nesting": ("[" * 1_000_000, "exceeded maximum nesting depth"),
    "block nesting": ("- " * 500_000, "nested more than 8 levels deep"),
    "keys in keys": ("? " * 500_000, "key must be a word"),
    "a tag that makes objects": (
        "models: !!python/object/apply:os.system ['touch x']", "tags are not supported",
    ),
    "a tag of a word": ("models: [!!python/name:os.system '']", "tags are not supported"),
    "a tag of its own": ("models: [!evil a/b]", "tags are not supported"),
    "a tag of a key": ("!!binary bW9kZWxz: [a/b]", "tags are not supported"),
    "a key twice": ("models: [a/b]\nmodels: [c/d]", "models occurs twice"),
    "an option twice": ("models: [{model_id: a/b, opset: 17, opset: 18}]", "opset occurs twice"),
    "a gigantic word": ("models: [" + "x" * 1_000_000 + "]", "a word has over 4,096 characters"),
    "a gigantic key": ("x" * 1000 + ": 1", "is not a part of a list"),
    "a gigantic quoted key": ('"' + "x" * 1_000_000 + '": 1', "a word has over 4,096 characters"),
    "a line of a name": ("models: [" + "x" * 4000 + "]", "cannot be read"),
    "too many parts": ("[" + "x," * 1_100_000 + "]", "over 1,000,000 parts"),
    "too many models": ("models:\n" + "- a/b\n" * 100_001, "the list has over 100,000 models"),
    "two documents": ("models: [a/b]\n---\nmodels: [c/d]", "a second document"),
    "a wrong directive": ("%YAML 9.9\n---\nmodels: [a/b]", "incompatible YAML"),
    "a control character": ("models: [a\x00b]", "control characters"),
    "a quoted null": ('models: ["a\\0b"]', "is empty"),
    "a surrogate": ('models: ["\\uD800"]', ""),
    "the home of nobody": (
        "models: [{model_id: a/b, cache_dir: ~nobody-here/x}]", "home folder of an unknown user",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_hostile_list_is_refused_in_seconds(name: str, tmp_path: Path) -> None:
    text, message = LISTS[name]
    (tmp_path / "models.yaml").write_text(text)
    # Some seconds; the tests' machine may be busy.
    outcome = run("batch", "models.yaml", "--dry_run", cwd=tmp_path, timeout_s=120)
    assert outcome.code == 2, outcome.stderr[-2000:]
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert len(outcome.stderr) < 20_000
    assert [p.name for p in tmp_path.iterdir()] == ["models.yaml"]


def test_a_list_of_100_000_models_is_read_in_seconds_and_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    options = "quantize: QInt8, optimize: 1"
    file.write_text(
        "models:\n" + "".join(f"- {{model_id: org/m{n}, {options}}}\n" for n in range(100_000))
    )
    start = time.process_time()
    entries = read_entries(BatchRequest(file=file))
    assert len(entries) == 100_000
    assert len(matrix(entries, None)["include"]) == 256
    assert time.process_time() - start < 60, "it is ten seconds, and a busy machine is slower"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 << 20


def test_all_errors_of_a_list_come_at_once_but_not_100_000(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models:\n" + "- a b\n" * 100_000)
    with pytest.raises(SeveralErrors) as caught:
        read_entries(BatchRequest(file=file))
    assert len(caught.value.parts) == 20


# --- what is no file, but named as one -----------------------------------------------------------

LONG = "ü" * 127 + "x"  # 255 bytes


@pytest.mark.parametrize("words", [
    ("export", "--model_id", "MODEL", "--output_parent_dir", "out"),
    ("export", "--model_id", "MODEL", "--output_parent_dir", "/tmp/nowhere"),
    ("batch", "models.yaml"), ("verify", "x"), ("compare", "x", "y"), ("version",),
])  # fmt: skip
def test_a_working_directory_that_is_gone_is_said(
    words: tuple[str, ...], tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    known = [str(tiny_bert) if word == "MODEL" else word for word in words]
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", sys.executable, "-m", "embconvert", *known],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-2] == (
        "error: the working directory cannot be used: No such file or directory"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["x" * 255, LONG, "x" * 230, "模" * 85], ids=len)
def test_a_name_of_255_bytes_converts_twice(name: str, tiny_bert: Path, tmp_path: Path) -> None:
    assert len(os.fsencode(name)) <= 255
    model = tmp_path / "in" / name
    shutil.copytree(tiny_bert, model)
    out = tmp_path / "out"
    for said in ("saved", "is up to date"):
        outcome = run_freely("export", "--model_id", model, "--output_parent_dir", out,
                             "--skip_validation")  # fmt: skip
        assert outcome.code == 0, outcome.stderr
        assert [p.name for p in out.iterdir()] == [name]
        assert said == "saved" or said in outcome.stderr
    page = tmp_path / name
    compared = run_freely("compare", out / name, tmp_path / "out" / ".." / "out" / name,
                          "--output", page)  # fmt: skip
    assert compared.code == 0, compared.stderr
    assert page.is_file()


def run_freely(*words: object) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "embconvert", *map(str, words)], capture_output=True, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_two_long_names_that_begin_alike_do_not_share_a_lock(tmp_path: Path) -> None:
    from embconvert.folder.disk import hidden_name

    names = {hidden_name(tmp_path / ("ü" * 127 + end), "embconvert-lock") for end in "abc"}
    assert len(names) == 3
    for name in names:
        (tmp_path / name).touch()


PATHS: dict[str, tuple[str, ...]] = {
    "model_id": ("export", "--model_id", "PATH"),
    "output_parent_dir": ("export", "--model_id", "a/b", "--output_parent_dir", "PATH"),
    "cache_dir": ("export", "--model_id", "a/b", "--offline", "--cache_dir", "PATH"),
    "calibration": ("all", "--model_id", "a/b", "--quantize", "QInt8", "--calibration_dataset",
                    "PATH"),
    "model_path": ("optimize", "--model_id", "a/b", "--model_path", "PATH"),
    "batch": ("batch", "PATH"),
    "verify": ("verify", "PATH"),
    "report": ("report", "PATH"),
    "compare": ("compare", "PATH", "y"),
    "compare output": ("compare", "MODEL", "y", "--output", "PATH"),
    "push": ("push", "PATH", "--repo_id", "a/b"),
}  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/" + "x" * 256, "x" * 5000, "x/" * 3000, "~nobody-here/x", "ü" * 128]
, ids=lambda path: f"{path[:3]}{len(path)}")  # fmt: skip
@pytest.mark.parametrize("named", PATHS)
def test_a_path_that_no_file_can_have_is_no_bug(
    named: str, path: str, tiny_bert: Path, tmp_path: Path
) -> None:
    known = {"PATH": path, "MODEL": str(tiny_bert)}
    outcome = run(*(known.get(word, word) for word in PATHS[named]), cwd=tmp_path)
    assert outcome.code in (2, 3), outcome.stderr[-2000:]
    assert_refused(outcome, outcome.code, "")
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_an_output_error() -> None:
    with Path("/dev/full").open("w") as full:
        for words in (["--help"], ["version"]):
            done = subprocess.run(
                [sys.executable, "-m", "embconvert", *words], stdout=full, check=False,
                stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert done.returncode == 9
            assert done.stderr.startswith("error: the result cannot be written to stdout: No space")


WITHOUT_PROC = 'mount -t tmpfs none /proc && exec "$@"'


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to hide /proc")
def test_without_proc_it_says_what_it_needs(tiny_bert: Path, tmp_path: Path) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", WITHOUT_PROC, "sh"]
    done = subprocess.run(
        [*hidden, sys.executable, "-m", "embconvert", "all", "--model_id", str(tiny_bert),
         "--output_parent_dir", str(tmp_path), "--quantize", "QInt8"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 9
    assert done.stderr == (
        "error: /proc is not mounted, but ONNX Runtime needs it to read a graph's weights\n"
        "hint: run: mount -t proc proc /proc; or start the sandbox with it\n"
    )
    assert list(tmp_path.iterdir()) == []
