"""Files that hold a secret, and credentials of systemd."""

import os
from pathlib import Path

import pytest

from blobfs.config.secret_files import MAX_SIZE, find_file, read_secret
from blobfs.errors import ConfigRefused

SECRET = "s3cret-token"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o640)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigRefused) as refused:
        read_secret(path)
    text = str(refused.value)
    assert len(text.splitlines()) == 1
    assert SECRET not in text
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    return text


def test_the_line_is_read(file: Path) -> None:
    """Without the white space that editors put around it; what is in the middle stays."""
    assert read_secret(file) == SECRET
    file.write_text(f"\n  {SECRET} of two words \r\n")
    assert read_secret(file) == f"{SECRET} of two words"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_what_others_can_get_at_is_no_secret(file: Path, mode: int) -> None:
    """It is refused, with the command that closes it."""
    file.chmod(mode)
    assert refusal(file) == f"{file}: every user of this machine can get at it: chmod o= {file}"


def test_through_a_link(file: Path, tmp_path: Path) -> None:
    """Where secrets are links, the file counts."""
    (tmp_path / "link").symlink_to(file)
    assert read_secret(tmp_path / "link") == SECRET


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"s3cret-token\nof two lines", "a secret is one line of printable text"),
        (b"s3cret-token\x00", "a secret is one line of printable text"),
        (b"\xff\xfe", "a secret is text"),
        (b"x" * (MAX_SIZE + 1), "too much for a secret"),
    ],
)
def test_what_is_no_secret(file: Path, content: bytes, words: str) -> None:
    """It is refused, and not shown."""
    file.write_bytes(content)
    assert words in refusal(file)


def test_what_is_no_file(tmp_path: Path) -> None:
    """Neither a missing one nor a directory; and a pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal(tmp_path / "missing").endswith("missing: No such file or directory")
    assert refusal(tmp_path).endswith(": Is a directory")
    assert refusal(tmp_path / "pipe").endswith(": not a file")


def test_a_credential(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``credential:NAME`` is in the directory that systemd made; anything else is a path."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    assert find_file(Path("credential:token")) == file
    assert read_secret(Path("credential:token")) == SECRET
    assert find_file(Path("/etc/credential:token")) == Path("/etc/credential:token")


@pytest.mark.parametrize("name", ["credential:", "credential:..", "credential:a/b"])
def test_what_is_no_credential(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name leads nowhere else."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/tmp")
    assert refusal(Path(name)) == f"{name}: not the name of a credential"


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a service there are none, and that is said."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert refusal(Path("credential:token")).startswith("credential:token: there are no credentials here")
