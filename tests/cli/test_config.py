"""``blobfs config``, and the flags that follow from the settings."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from blobfs.cli.config import config
from blobfs.cli.config_flags import RefusedConfiguration, SettingFlag, parse_share
from blobfs.cli.mount import mount
from blobfs.config.catalogue import OPTIONS
from blobfs.config.settings import ShareSetting
from blobfs.config.sources import read_sources

URL = "http://a:1/x=2/"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.toml"
    path.write_text('mountpoint = "m"\nstore = "s"\n[load]\nmax_tries = 5\n')
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.toml"
    path.write_text("[load]\nmax_tries = 0\nfil = 1\n")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(config, [str(argument) for argument in arguments])


def test_a_file_without_mistakes(good: Path, tmp_path: Path) -> None:
    """Exit code 0 and not a word; it need not say where to mount."""
    (tmp_path / "empty.toml").touch()
    done = run("--check", good, tmp_path / "empty.toml")
    assert (done.exit_code, done.output) == (0, "")


def test_mistakes_of_files(good: Path, bad: Path, tmp_path: Path) -> None:
    """Exit code 1, all mistakes of all files on stderr, as a compiler writes them."""
    done = run("--check", bad, good, tmp_path / "none.toml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"{bad}:2: load.max_tries: expected a whole number from 1 on, found 0",
        f"{bad}:3: load.fil: unknown; did you mean fill?",
        f"{tmp_path}/none.toml: No such file or directory",
    ]


def test_warnings_are_no_mistakes(good: Path) -> None:
    """They are told, and the exit code is 0."""
    good.write_text('[control]\nlisten = "0.0.0.0:1"\n')
    done = run("--check", good)
    assert done.exit_code == 0
    assert done.stderr.startswith(f"{good}:2: control.listen: warning: who can reach 0.0.0.0:1 sees")


def test_what_is_in_force(good: Path, tmp_path: Path) -> None:
    """As TOML that is a file again, whatever it was put together from."""
    done = run("--show", "--config", good, "-o", "quota=1G", "--share", URL, "/mnt/y")
    assert done.exit_code == 0
    assert f"max_tries = 5                                 # {good}:4" in done.stdout.splitlines()
    (tmp_path / "again.toml").write_text(done.stdout)
    again = read_sources(None, tmp_path / "again.toml", (), {}).settings()
    assert (again.mountpoint, again.load.max_tries, again.space.quota) == (Path("/mnt/y"), 5, 1 << 30)
    assert again.shares == (ShareSetting(URL),)


def test_for_programs(good: Path) -> None:
    """The same as JSON."""
    found = json.loads(run("--show", "--json", "--config", good).stdout)
    assert found["settings"]["load.max_tries"] == {"value": 5, "origin": f"{good}:4"}
    assert found["settings"]["space.quota"] == {"value": None, "origin": "default"}
    assert (found["shares"], found["warnings"]) == ([], [])


def test_what_would_be_refused_is_not_shown(bad: Path) -> None:
    """Exit code 2, as of `blobfs mount`, and an "Error: " in front of each line."""
    done = run("--show", "--config", bad, "--quota", "x")
    assert (done.exit_code, done.stdout) == (2, "")
    assert [line.split(" ")[:2] for line in done.stderr.splitlines()] == [
        ["Error:", "--quota:"], ["Error:", f"{bad}:2:"], ["Error:", f"{bad}:3:"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--check"],
        ["--show", "/a", "/b"],
        ["--check", "--show", "/a"],
        ["--check", "--json", "/a"],
        ["--check", "--quota", "1G", "/a"],
        ["--check", "--read-only", "/a"],
        ["--check", "-o", "ro", "/a"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    """Exit code 2, and what is right."""
    done = run(*arguments)
    assert done.exit_code == 2
    assert "--check" in done.stderr.splitlines()[-1]


def test_every_setting_has_its_flag() -> None:
    """With a value, or as a switch that can be taken back; each is in the help, below its heading."""
    flags = {flag.name: flag for flag in mount.params if isinstance(flag, SettingFlag)}
    assert list(flags) == list(OPTIONS)
    text = CliRunner().invoke(mount, ["--help"]).output
    for name, flag in flags.items():
        assert flag.opts == [f"--{name.replace('_', '-')}"]
        assert bool(flag.secondary_opts) == flag.is_flag == flag.setting.is_switch
        assert f"  {flag.opts[0]}" in text
    assert "[GROUP=]URL" in text
    assert [line for line in text.splitlines() if line.startswith("Loading:")]


def test_flags_set_what_they_are_called(tmp_path: Path) -> None:
    """Each, with the value that is usual, is set by its flag."""
    for setting in OPTIONS.values():
        if setting.default is None:
            continue
        shown = setting.kind.to_toml(setting.default)
        given = [setting.flag] if setting.is_switch else [setting.flag, str(shown)]
        found = json.loads(run("--show", "--json", *given).stdout)["settings"][setting.key]
        assert found["origin"] == setting.flag
        assert found["value"] == (True if setting.is_switch else shown)


def test_words_are_completed() -> None:
    """Of a setting that is one of a few."""
    flags = {flag.name: flag for flag in mount.params if isinstance(flag, SettingFlag)}
    context = mount.make_context("mount", ["/mnt"])
    assert [item.value for item in flags["log_level"].shell_complete(context, "w")] == ["warning"]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (URL, ShareSetting(URL)),
        (f"2={URL}", ShareSetting(URL, group=2)),
        (f"{URL} plain proxy=no", ShareSetting(URL, plain=True, proxy=False)),
        ("nonsense", ShareSetting("nonsense")),  # refused later, as a URL
    ],
)
def test_a_share_may_have_a_group(text: str, share: ShareSetting) -> None:
    """A number and an equals sign in front of the URL; URLs themselves may hold the sign."""
    assert parse_share(text) == share


@pytest.mark.parametrize("group", ["0", "-1", "x", "", "1.5", "99999", "١"])
def test_a_group_is_a_number(group: str) -> None:
    """From 1 on; anything else is refused in one line."""
    with pytest.raises(RefusedConfiguration, match=r"group: expected a whole number from 1 to 9999"):
        parse_share(f"{group}={URL}")


def test_a_shown_file_has_all_that_can_be_set() -> None:
    """So that it can be edited: what is set is there, what is not is named."""
    text = run("--show").stdout
    sections = tomllib.loads(text)
    for setting in OPTIONS.values():
        table = sections[setting.section] if setting.section else sections
        assert setting.name in table or f"# {setting.name} is not set" in text
