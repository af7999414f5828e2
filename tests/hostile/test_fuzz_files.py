"""Whatever a file that a user names holds, its reader ends with text or says what is wrong."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embconvert.user_files import UnreadableFileError, read_lines, read_regular, read_text

EXAMPLES = int(os.environ.get("EMBCONVERT_FUZZ_EXAMPLES", "150"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
CONTENT = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="a\n\r\ufeff\u2028ü", max_size=40).map(str.encode),
)


@pytest.fixture(scope="module")
def file() -> Path:
    return Path(tempfile.mkdtemp(prefix="embconvert-fuzz-")) / "file"


@fuzz
@given(CONTENT, st.integers(0, 80), st.integers(0, 30))
def test_lines_are_bounded_and_whole(
    file: Path, content: bytes, most_bytes: int, most_line_bytes: int
) -> None:
    file.write_bytes(content)
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    fits = len(content) <= most_bytes and all(len(line) <= most_line_bytes for line in lines)
    try:
        read = list(read_lines(file, most_bytes=most_bytes, most_line_bytes=most_line_bytes))
    except UnreadableFileError as error:
        assert str(error)
        try:
            content.decode()
        except UnicodeDecodeError:
            return
        assert not fits
    else:
        assert fits
        assert "\n".join(read) == content.decode("utf-8-sig").removesuffix("\n")


@fuzz
@given(CONTENT, st.integers(0, 80))
def test_a_whole_file_is_bounded(file: Path, content: bytes, most_bytes: int) -> None:
    file.write_bytes(content)
    try:
        assert read_regular(file, most_bytes) == content
        assert len(content) <= most_bytes
    except UnreadableFileError:
        assert len(content) > most_bytes
        return
    try:
        assert read_text(file, most_bytes) == content.decode("utf-8-sig")
    except UnreadableFileError as error:
        assert "is not UTF-8" in str(error)


@fuzz
@given(st.text(max_size=300))
def test_any_name_is_read_or_refused(name: str) -> None:
    with pytest.raises(UnreadableFileError):
        read_regular(Path("/proc/self/fdinfo/none") / name.replace("/", "x"), 10)
