"""`blobfs id`: what it prints, where, and how it exits. Compared with sha256sum where the two must agree."""

import io
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from blobfs.cli.identify import READ_SIZE, identify, identify_file
from blobfs.merkle import StreamHasher
from blobfs.model import EMPTY_BLOB, BlobId

ONES = b"\xff" * 8192
ONES_ID = "68d131bc271f9c192d4f6dcd8fe61bef90004856da19d0f2f514a7f4098b0737"


def run(*arguments: str | bytes, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(identify, [os.fsdecode(argument) for argument in arguments], input=stdin)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two files, so that names are short."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "ones").write_bytes(ONES)
    return tmp_path


def test_a_line_for_each_file(here: Path) -> None:
    """Blob id, two spaces, the name as it was given; in the order given."""
    result = run("ones", "empty", "./ones")
    assert result.stdout == f"{ONES_ID}  ones\n{EMPTY_BLOB}  empty\n{ONES_ID}  ./ones\n"
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["-"]], ids=["no FILE", "-"])
def test_standard_input(arguments: list[str]) -> None:
    """Without FILE, or with -, standard input is read, and its name is -."""
    assert run(*arguments, stdin=ONES).stdout == f"{ONES_ID}  -\n"


def test_what_cannot_be_read_is_named_and_the_rest_is_done(here: Path) -> None:
    """One line on stderr each, the other files' ids on stdout, exit code 1."""
    result = run("missing", ".", "ones")
    assert result.stdout == f"{ONES_ID}  ones\n"
    assert result.stderr == (
        "blobfs id: missing: No such file or directory\n"  # no traceback, no second line
        "blobfs id: .: Is a directory\n"
    )
    assert result.exit_code == 1


def test_a_name_in_a_message_stays_on_its_line(here: Path) -> None:
    """A newline in a name does not make two lines of a message."""
    assert run("a\nb").stderr == "blobfs id: a\\nb: No such file or directory\n"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (b"a b", b"%s  a b"),
        (b"a\\b", rb"\%s  a\\b"),
        (b"a\nb", rb"\%s  a\nb"),
        (b"a\rb", rb"\%s  a\rb"),
        (b"\\n", rb"\%s  \\n"),
        (b"\xff", b"%s  \xff"),
        ("é*".encode(), "%s  é*".encode()),
    ],
)
def test_odd_names_are_written_like_sha256sum_and_read_back(here: Path, name: bytes, line: bytes) -> None:
    """The list differs from sha256sum's in the digests alone, and --check finds the file again."""
    Path(os.fsdecode(name)).write_bytes(ONES)
    listed = run(name).stdout_bytes
    assert listed == line % ONES_ID.encode() + b"\n"
    theirs = subprocess.run([b"sha256sum", b"--", name], capture_output=True, check=True, timeout=20).stdout
    start = theirs.startswith(b"\\")
    assert theirs[start + 64 :] == listed[start + 64 :]
    checked = run("--check", stdin=listed)
    assert checked.exit_code == 0
    assert checked.stdout_bytes == line.replace(b"%s  ", b"") + b": OK\n"


def test_check_says_what_matches_and_what_does_not(here: Path) -> None:
    """OK, FAILED or FAILED open or read on stdout; messages and sums on stderr; exit code 1."""
    (here / "list").write_text(
        f"# a comment\n\n{ONES_ID}  ones\n{EMPTY_BLOB} *empty\n"
        f"{EMPTY_BLOB}  ones\n{ONES_ID}  gone\nnonsense\n"
    )
    result = run("--check", "list")
    assert result.stdout == "ones: OK\nempty: OK\nones: FAILED\ngone: FAILED open or read\n"
    assert result.stderr == (
        "blobfs id: gone: No such file or directory\n"
        "blobfs id: WARNING: 1 line is improperly formatted\n"
        "blobfs id: WARNING: 1 listed file could not be read\n"
        "blobfs id: WARNING: 1 computed blob id did NOT match\n"
    )
    assert result.exit_code == 1


def test_the_sums_count(here: Path) -> None:
    """More than one is counted, in the plural."""
    lists = f"{EMPTY_BLOB}  ones\n{ONES_ID}  empty\n{ONES_ID}  x\n{ONES_ID}  y\n?\n!\n"
    assert run("-c", stdin=lists.encode()).stderr.splitlines()[2:] == [
        "blobfs id: WARNING: 2 lines are improperly formatted",
        "blobfs id: WARNING: 2 listed files could not be read",
        "blobfs id: WARNING: 2 computed blob ids did NOT match",
    ]


def test_badly_formatted_lines_alone_do_not_fail(here: Path) -> None:
    """As with sha256sum: there is a warning, and the exit code is 0 if the rest matches."""
    result = run("--check", stdin=f"{ONES_ID}  ones\njunk".encode())
    assert (result.exit_code, result.stdout) == (0, "ones: OK\n")
    assert result.stderr == "blobfs id: WARNING: 1 line is improperly formatted\n"


@pytest.mark.parametrize(
    "line",
    [
        ONES_ID,
        ONES_ID + "  ",
        ONES_ID + " ones",
        ONES_ID + "\tones",
        ONES_ID.upper() + "  ones",
        ONES_ID[1:] + "  ones",
        " " + ONES_ID + "  ones",
        "\\" + ONES_ID + "  on\\es",
        "\\" + ONES_ID + "  ones\\",
        ONES_ID + "  ones\0",
        ONES_ID + "  -",  # the list itself
        "",
        "# " + ONES_ID + "  ones",
    ],
)
def test_a_list_without_a_good_line(here: Path, line: str) -> None:
    """What is no list fails, and says so."""
    result = run("--check", stdin=line.encode() + b"\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "blobfs id: standard input: no properly formatted blob id lines found\n"


def test_quiet_leaves_out_what_matches(here: Path) -> None:
    """--quiet shows failures only."""
    lists = f"{ONES_ID}  ones\n{ONES_ID}  empty\n".encode()
    result = run("--check", "--quiet", stdin=lists)
    assert (result.exit_code, result.stdout) == (1, "empty: FAILED\n")
    assert run("--check", "--quiet", stdin=lists[: len(lists) // 2]).output == ""


def test_status_says_it_with_the_exit_code(here: Path) -> None:
    """--status prints neither verdicts nor sums."""
    wrong = run("--check", "--status", stdin=f"{ONES_ID}  empty\njunk\n".encode())
    right = run("--check", "--status", stdin=f"{ONES_ID}  ones\n".encode())
    assert (wrong.exit_code, wrong.output, right.exit_code, right.output) == (1, "", 0, "")


def test_several_lists(here: Path) -> None:
    """Each list is checked; one that is missing or wrong fails the whole."""
    (here / "good").write_text(f"{ONES_ID}  ones\n")
    (here / "standard").write_text(f"{ONES_ID}  -\n")
    result = run("-c", "good", "nolist", "standard", stdin=ONES)
    assert (result.exit_code, result.stdout) == (1, "ones: OK\n-: OK\n")
    assert result.stderr == "blobfs id: nolist: No such file or directory\n"


@pytest.mark.parametrize("arguments", [["--quiet", "ones"], ["--status", "ones"], ["--frobnicate"]])
def test_wrong_usage(here: Path, arguments: list[str]) -> None:
    """Options that make no sense are usage errors: exit code 2, nothing on stdout."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


class RecordingFile(io.BytesIO):
    """Remembers the size of each read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size)
        return super().read(size)


def test_a_file_is_streamed() -> None:
    """Reads are of 1 MiB, so that any size of file is read in little memory."""
    content = bytes(range(256)) * 10_000
    hasher = StreamHasher()
    hasher.append(content)
    file = RecordingFile(content)
    assert identify_file(file) == hasher.finish().root
    assert file.sizes == [READ_SIZE] * 4 == [1 << 20] * 4


def test_a_file_is_read_from_where_it_is() -> None:
    """What was read before is not part of it."""
    file = io.BytesIO(b"skipped" + ONES)
    file.seek(7)
    assert identify_file(file) == BlobId(ONES_ID)
    assert identify_file(file) == EMPTY_BLOB
