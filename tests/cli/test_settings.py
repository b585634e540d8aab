"""Settings as they are written on the command line."""

import re
from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from blobfs.cli.mount import mount
from blobfs.cli.settings import LOAD_OPTIONS, parse_load_option, parse_share
from blobfs.config.settings import Fill, LoadSettings, ShareSetting

URL = "http://a:1/x=2/"


def test_every_setting_of_loading_is_an_option() -> None:
    """What is new in `LoadSettings` can be set without a change here; its default is a value it takes."""
    assert LOAD_OPTIONS.keys() == {field.name for field in fields(LoadSettings)}
    defaults = LoadSettings()
    for name in LOAD_OPTIONS:
        default = getattr(defaults, name)
        text = ("no", "yes")[default] if isinstance(default, bool) else str(default)
        value = parse_load_option(name, text)
        assert (value, type(value)) == (default, type(default))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("idle_timeout", "2", 2.0),
        ("first_byte_timeout", ".5", 0.5),
        ("max_tries", "7", 7),
        ("fill", "never", Fill.NEVER),
        ("allow_redirects", "", True),
        ("allow_redirects", "no", False),
    ],
)
def test_values(key: str, text: str, value: object) -> None:
    """Seconds may be broken, counts are whole, a switch may stand alone."""
    assert parse_load_option(key, text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(("read_timeout", text) for text in ("", "x", "nan", "NaN", "-1", "inf", "-inf", "1e999", "1,5")),
        *(("read_ahead", text) for text in ("", "x", "-1", "1.5", "1e3", "nan", "9" * 40, "1_000", "٣")),
        ("fill", "always"),
        ("allow_redirects", "maybe"),
    ],
)
def test_bad_values_are_one_line(key: str, text: str) -> None:
    """Neither NaN nor anything below 0 comes through; the line names the option and what it takes."""
    with pytest.raises(click.UsageError) as refused:
        parse_load_option(key, text)
    assert re.fullmatch(f"-o {key}=.*: (not a |one of |yes or no).*", refused.value.message)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (URL, ShareSetting(URL)),
        (f"2={URL}", ShareSetting(URL, group=2)),
        ("http://a/?x=y", ShareSetting("http://a/?x=y")),  # refused later, as a URL
        ("nonsense", ShareSetting("nonsense")),
    ],
)
def test_a_share_may_have_a_group(text: str, share: ShareSetting) -> None:
    """A number and an equals sign in front of the URL; URLs themselves may hold the sign."""
    assert parse_share(text) == share
    assert parse_share(text, plain=True) == ShareSetting(share.url, plain=True, group=share.group)


@pytest.mark.parametrize("group", ["0", "-1", "x", "", "1.5", "99999", "١"])
def test_a_group_is_a_number(group: str) -> None:
    """From 1 on; anything else is refused in one line."""
    with pytest.raises(click.UsageError, match="a share's group is a number from 1 on"):
        parse_share(f"{group}={URL}")


def test_wrong_usage_ends_before_anything_starts() -> None:
    """Exit code 2, and the reason."""
    for arguments in (["-o", "read_timeout=nan"], ["--share", f"0={URL}"], ["-o", "max_tries=0"]):
        done = CliRunner().invoke(mount, [*arguments, "/nowhere"])
        assert done.exit_code == 2
        assert done.output.splitlines()[-1].startswith("Error: ")


def test_the_help_tells_of_groups_and_options() -> None:
    """What can be given can be found."""
    text = CliRunner().invoke(mount, ["--help"]).output
    assert "[GROUP=]URL" in text
    assert "first_byte_timeout" in text
