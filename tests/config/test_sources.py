"""What is in force when several sources say something."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.config.settings import Fill, NodeSettings, ShareSetting
from blobfs.config.show import show_json, show_toml
from blobfs.config.sources import Reading, read_settings, read_sources
from blobfs.errors import ConfigRefused

MOUNTPOINT = Path("/mnt/x")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def read(file: Path | None = None, text: str = "", options: Sequence[str] = (), **flags: Any) -> NodeSettings:
    """With `text` as the file."""
    if file is not None:
        file.write_text(text)
    return read_settings(MOUNTPOINT, file, options, flags)


def mistakes(
    file: Path | None = None, text: str = "", options: Sequence[str] = (), **flags: Any
) -> list[str]:
    """What is refused, as lines, without the file's directory."""
    with pytest.raises(ConfigRefused) as refused:
        read(file, text, options, **flags)
    place = "" if file is None else f"{file.parent}/"
    return str(refused.value).replace(place, "").splitlines() if place else str(refused.value).splitlines()


def test_nothing_is_said() -> None:
    """Everything is as it is usual."""
    assert read() == NodeSettings(mountpoint=MOUNTPOINT, store=Path("/var/lib/blobfs"))


def test_the_stronger_one_is_in_force(file: Path) -> None:
    """Flags over mount options, these over the file: for each setting by itself."""
    text = "[load]\nread_timeout = 1\nlookup_timeout = 1\nconnect_timeout = 1\n"
    found = read(file, text, ["read_timeout=2,lookup_timeout=2"], read_timeout="3").load
    assert (found.read_timeout, found.lookup_timeout, found.connect_timeout) == (3, 2, 1)
    assert found.idle_timeout == 10


def test_a_switch_can_be_taken_back(file: Path) -> None:
    """What the file switches on, a mount option or a flag switches off."""
    text = "read_only = true\n"
    assert read(file, text).read_only
    assert read(file, text, ["rw"]).read_only  # mount(8) adds it to everything
    assert not read(file, text, ["read_only=no"]).read_only
    assert not read(file, text, ["ro"], read_only=False).read_only


def test_shares_are_one_list(file: Path) -> None:
    """The strongest source that names shares says all of them."""
    text = '[[share]]\nurl = "http://a/"\ngroup = 2\n[[share]]\nurl = "http://b/"\nplain = true\n'
    assert read(file, text).shares == (
        ShareSetting("http://a/", group=2),
        ShareSetting("http://b/", plain=True),
    )
    assert read(file, text, ["share=http://c/,quota=1G"]).shares == (ShareSetting("http://c/"),)
    found = read(file, text, ["share=http://c/"], share=["3=http://d/"], plain_share=["http://e/"]).shares
    assert found == (ShareSetting("http://d/", group=3), ShareSetting("http://e/", plain=True))


def test_a_share_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    """Behind the URL, with spaces between; also after ``-o``."""
    secret = tmp_path / "password"
    secret.write_text("secret")
    secret.chmod(0o600)
    text = f"2=https://a/ user=me password_file={secret} proxy=no plain"
    expected = ShareSetting("https://a/", plain=True, group=2, user="me", password_file=secret, proxy=False)
    assert read(share=[text]).shares == (expected,)
    assert read(options=[f"ro,share={text},nosuid"]).shares == (expected,)


def test_a_comma_in_a_value() -> None:
    """Has a backslash before it, or stands in quotes; in a URL it can be percent-encoded."""
    assert read(options=['share="http://a/b,c",ro']).shares == (ShareSetting("http://a/b,c"),)
    found = read(options=[r"share=http://a/b\,c%2Cd,store=/s\,t\\u,ro"])
    assert (found.shares, found.store, found.read_only) == (
        (ShareSetting("http://a/b,c%2Cd"),),
        Path("/s,t\\u"),
        True,
    )


def test_options_for_libfuse_come_together(file: Path) -> None:
    """Those of the file and those that were typed; what fstab says to others is dropped."""
    text = 'fuse_options = ["noexec"]\n'
    options = ["defaults,rw,_netdev,nofail,x-systemd.automount,user=me", "nosuid,max_read=4096"]
    assert read(file, text, options).fuse_options == ("noexec", "nosuid", "max_read=4096")


def test_paths_in_a_file_are_below_its_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the current directory is; what is typed is below that one. Credentials are no paths."""
    (file.parent / "token").write_text("secret")
    (file.parent / "token").chmod(0o600)
    text = (
        'store = "s"\n[serve]\nlisten = "[::1]:1"\ntoken_file = "token"\n'
        '[[share]]\nurl = "https://a/"\ntoken_file = "credential:t"\n'
    )
    found = read(file, text)
    assert (found.store, found.serve.token_file) == (file.parent / "s", file.parent / "token")
    assert found.shares[0].token_file == Path("credential:t")
    monkeypatch.chdir(file.parent)
    assert read(Path("node.toml"), text) == found
    assert read(store="s").store == Path("s")


def test_where_to_mount(file: Path) -> None:
    """The file may say it; what is typed is stronger; somebody has to."""
    file.write_text('mountpoint = "here"\n')
    assert read_settings(None, file, (), {}).mountpoint == file.parent / "here"
    assert read_settings(MOUNTPOINT, file, (), {}).mountpoint == MOUNTPOINT
    file.write_text("")
    with pytest.raises(ConfigRefused, match=r"node.toml: nothing says where to mount"):
        read_settings(None, file, (), {})
    with pytest.raises(ConfigRefused, match=r"^mountpoint: nothing says where to mount"):
        read_settings(None, None, (), {})


def test_all_mistakes_are_told(file: Path) -> None:
    """Those of all sources: what was typed, then the file in its order, each on a line of its own."""
    text = '[load]\nread_timeout = "x"\nfil = 1\n\n[serve]\nkey = "missing"\n[space]\nquota = -1\n'
    assert mistakes(file, text, ["idle_timeout=x,frobnicate"], share=["ftp://a/", "http://b/ plan"]) == [
        "--share http://b/: plan: unknown for a share; did you mean plain?",
        '-o idle_timeout=x: expected seconds, more than 0, found "x"',
        "-o frobnicate: unknown",
        "--share ftp://a/: a share's URL starts with http:// or https://, this does not: 'ftp://a/'",
        'node.toml:2: load.read_timeout: expected seconds, more than 0, found "x"',
        "node.toml:3: load.fil: unknown; did you mean fill?",
        "node.toml:6: serve.key: missing: No such file or directory",
        "node.toml:6: serve.key: is for TLS, and there is no serve.certificate",
        "node.toml:8: space.quota: expected a size like 500M or 10G, or bytes from 0 on, found -1",
    ]


def test_one_mistake_is_one_line(file: Path) -> None:
    """What is there, and wrong, is not said to be missing as well."""
    serving = '[serve]\nlisten = 1\ncertificate = 2\nkey = "/dev/null"\n'
    found = mistakes(file, f'{serving}[[share]]\nurl = 3\nuser = "x"\npassword_file = 4\n')
    assert [line.split(": ")[1] for line in found] == [
        "serve.listen", "serve.certificate", "serve.key", "share.url", "share.password_file",
    ]  # fmt: skip


def test_credentials_are_never_shown(file: Path) -> None:
    """In no mistake, no warning, and not when the settings are shown."""
    url = "http://me:s3cret@127.0.0.1:1/"
    for wrong in (url.replace("http", "htp"), url + "?", f"{url} plan", f"{url} user=x", f"x={url}"):
        for found in (mistakes(share=[wrong]), mistakes(options=[f"share={wrong}"])):
            assert "s3cret" not in "\n".join(found)
    for reading in (
        read_sources(None, None, (), {"share": [url]}),
        read_sources(None, None, [f"share={url}"], {}),
    ):
        assert "s3cret" not in show_toml(reading)
        assert "s3cret" not in str(show_json(reading))
        assert "s3cret" not in str([str(warning) for warning in reading.warnings])


def warnings(**given: Any) -> list[str]:
    options = given.pop("options", ())
    file = given.pop("file", None)
    return [str(warning) for warning in read_sources(MOUNTPOINT, file, options, given).warnings]


def test_passwords_that_all_can_see(file: Path) -> None:
    """A URL with a password belongs into a file that nobody else reads."""
    url = "http://me:secret@127.0.0.1:1/"
    typed = "every user of this machine can see a password on the command line: use password_file"
    assert warnings(share=[url]) == [f"--share http://127.0.0.1:1/: {typed}"]
    assert warnings(options=[f"share={url}"]) == [f"-o share=http://127.0.0.1:1/: {typed}"]
    file.write_text(f'[[share]]\nurl = "{url}"\n')
    file.chmod(0o644)
    assert warnings(file=file) == [
        f"{file}:2: share.url: every user of this machine can read the password: chmod o= {file}"
    ]
    file.chmod(0o640)
    assert warnings(file=file) == []


def test_secrets_on_their_way(tmp_path: Path) -> None:
    """A token is for TLS, or for this machine."""
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    for url in ("https://a/", "http://127.0.0.2/", "http://[::1]:1/", "http://localhost/"):
        assert warnings(share=[f"{url} token_file={token}"]) == []
    (found,) = warnings(share=[f"http://a/ token_file={token}"])
    assert found.startswith("--share http://a/: credentials go there that everybody on the way can read")
    for listen in ("127.0.0.1:1", "unix:/run/x", "systemd"):
        assert warnings(listen=listen, serve_token_file=str(token)) == []
    (found,) = warnings(listen="0.0.0.0:1", serve_token_file=str(token))
    assert found.startswith("--serve-token-file: the token comes in unencrypted")


def test_open_doors(tmp_path: Path) -> None:
    """A status that other machines can read, and keys that all can."""
    assert warnings(control_listen="localhost:1") == []
    assert warnings(control_listen="0.0.0.0:1") == [
        "--control-listen: who can reach 0.0.0.0:1 sees the names that are loaded, and from where"
    ]
    both = tmp_path / "both.pem"
    both.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    both.chmod(0o644)
    given = {"listen": "[::1]:1", "serve_certificate": str(both), "serve_key": str(both)}
    assert warnings(**given) == [
        f"--serve-key: every user of this machine can read this private key: chmod o= {both}"
    ]
    both.chmod(0o640)
    assert warnings(**given) == []


def test_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """For whoever looks after the node."""
    read(control_listen="0.0.0.0:1")
    assert [(record.levelname, record.name) for record in caplog.records] == [
        ("WARNING", "blobfs.config.sources")
    ]


FULL = """\
mountpoint = "m\\"x"
store = "s"
log_level = "debug"
fuse_options = ["noexec", "max_read=4096"]
[load]
read_timeout = 0.25
fill = "never"
read_ahead = 1000
[space]
quota = "3G"
[control]
listen = "localhost:1"
[[share]]
url = "https://a/ü%20,"
user = "me"
password_file = "credential:p"
proxy = false
[[share]]
url = "http://b/"
plain = true
"""


def test_what_is_shown_is_a_file_again(file: Path) -> None:
    """With all settings, from wherever it is read."""
    file.write_text(FULL)
    reading = read_sources(None, file, ["quota=4G"], {"idle_timeout": "7"})
    again = file.parent / "elsewhere"
    again.mkdir()
    (again / "node.toml").write_text(show_toml(reading))
    copy = read_sources(None, again / "node.toml", (), {})
    assert copy.settings() == reading.settings()
    assert reading.settings().space.quota == 4 << 30
    assert show_toml(copy).count("# default") == 0  # each is set now


def lines_of(reading: Reading, word: str) -> list[str]:
    return [" ".join(line.split()) for line in show_toml(reading).splitlines() if line.startswith(word)]


def test_it_is_shown_where_each_stands(file: Path) -> None:
    """A line of the file, the flag, the option, or that it is usual."""
    file.write_text(FULL)
    reading = read_sources(None, file, ["quota=4G"], {"idle_timeout": "7"})
    assert lines_of(reading, "quota") == ['quota = "4G" # -o quota=4G']
    assert lines_of(reading, "idle_timeout") == ["idle_timeout = 7 # --idle-timeout"]
    assert lines_of(reading, "fill =") == [f'fill = "never" # {file}:7']
    assert lines_of(reading, "read_timeout") == [f"read_timeout = 0.25 # {file}:6"]
    assert lines_of(reading, "bodies") == ["bodies = 64 # default"]
    assert lines_of(reading, "# reserve") == ["# reserve is not set"]
    assert lines_of(reading, "plain = true") == [f"plain = true # {file}:20"]
    shown = show_json(reading)
    assert shown["settings"]["space.quota"] == {"value": "4G", "origin": "-o quota=4G"}
    assert shown["settings"]["mountpoint"]["value"] == f'{file.parent}/m"x'
    assert shown["shares"][0]["password_file"] == {"value": "credential:p", "origin": f"{file}:16"}


def test_a_file_that_is_none(file: Path) -> None:
    """One line each, with the line of the file where there is one."""
    assert mistakes(file, "a = 1\nb = \n") == ["node.toml:2: not TOML: Invalid value (at column 5)"]
    assert mistakes(file, "a = 1\na = 2\n") == [
        "node.toml:2: not TOML: Cannot overwrite a value (at column 6)"
    ]
    assert mistakes(file, "a = '''\n\n") == ["node.toml:3: not TOML: Expected \"'''\" (at end of document)"]
    assert mistakes(file, "[load") == [
        "node.toml:1: not TOML: Expected ']' at the end of a table declaration (at end of document)"
    ]
    assert mistakes(file, f"a = {'[' * 5000}") == ["node.toml: not a configuration: nested too deep"]
    assert mistakes(file, "a" * (1 << 20) + "=1") == [
        "node.toml: not a configuration: more than 1048576 bytes"
    ]
    file.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigRefused, match=r"node.toml:2: not TOML: not UTF-8$"):
        read_settings(MOUNTPOINT, file, (), {})
    with pytest.raises(ConfigRefused, match=r"gone.toml: No such file or directory$"):
        read_settings(MOUNTPOINT, file.with_name("gone.toml"), (), {})
    with pytest.raises(ConfigRefused, match=r": Is a directory$"):
        read_settings(MOUNTPOINT, file.parent, (), {})


def test_credentials_are_looked_at_where_they_are(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd has passed none, a file that names one is no mistake; where it has, it is there."""
    text = '[[share]]\nurl = "https://a/"\ntoken_file = "credential:t"\n'
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert read(file, text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    assert mistakes(file, text) == ["node.toml:3: share.token_file: credential:t: No such file or directory"]
    os.close(os.open(file.with_name("t"), os.O_CREAT, 0o600))
    assert mistakes(file, text) == ["node.toml:3: share.token_file: credential:t: the file is empty"]


def test_reading_again_sees_what_has_changed(file: Path) -> None:
    """The same sources, as they are by then."""
    assert read(file, '[load]\nfill = "idle"\n').load.fill is Fill.IDLE
    assert read(file, '[load]\nfill = "never"\n').load.fill is Fill.NEVER


@given(st.lists(st.text('ab,\\" =', min_size=1).filter(str.strip), min_size=1, max_size=3))
def test_values_with_whatever_in_them(paths: list[str]) -> None:
    """With a backslash before each comma, quote and backslash every value comes through after ``-o``."""
    escaped = [re.sub(r'([,"\\])', r"\\\1", path) for path in paths]
    found = read(options=[",".join(f"store={path},seal_delay=1" for path in escaped)])
    assert found.store == Path(paths[-1])
