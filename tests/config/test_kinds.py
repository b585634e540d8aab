"""Values as they are typed and as they stand in a file."""

import re
import tomllib
from dataclasses import fields
from typing import Any

import pytest

from blobfs.config.catalogue import CATALOGUE, OPTIONS, SECTIONS, SHARE_CATALOGUE, Setting
from blobfs.config.settings import Fill, LoadSettings, LogLevel, ShareSetting

ALL = [*CATALOGUE.values(), *SHARE_CATALOGUE.values()]


def test_every_field_can_be_set() -> None:
    """What is new in the settings can be set without a change elsewhere."""
    expected = {(section, field.name) for section, values in SECTIONS.items() for field in fields(values)}
    expected -= {("", section) for section in SECTIONS} | {("", "shares")}
    assert {(setting.section, setting.name) for setting in CATALOGUE.values()} == expected
    assert list(SHARE_CATALOGUE) == [field.name for field in fields(ShareSetting)]


def test_no_two_settings_have_one_name() -> None:
    """After ``-o`` and as a flag each is one of its own; so are the shares."""
    assert len(OPTIONS) == len(CATALOGUE) - 2  # where to mount, and what is libfuse's
    assert not OPTIONS.keys() & {"share", "plain_share", "ro", "mountpoint", "config", "background"}


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.key)
def test_every_setting_says_what_it_is_for(setting: Setting) -> None:
    """In a sentence, for ``--help`` and the reference."""
    assert re.fullmatch(r"\S.*\S", setting.meaning)


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.key)
def test_what_is_usual_can_be_said(setting: Setting) -> None:
    """The default is a value that the file takes, and a text that ``-o`` takes."""
    if setting.default is None:
        return
    shown = setting.kind.to_toml(setting.default)
    assert setting.kind.from_toml(shown) == setting.default
    if setting.name == "fuse_options":
        return
    text = ("no", "yes")[shown] if isinstance(shown, bool) else str(shown)
    value = setting.kind.from_text(text)
    assert (value, type(value)) == (setting.default, type(setting.default))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("load.idle_timeout", "2", 2.0),
        ("load.first_byte_timeout", ".5", 0.5),
        ("load.retry_timeout", "0", 0.0),
        ("load.max_tries", "7", 7),
        ("load.fill", "never", Fill.NEVER),
        ("load.allow_redirects", "", True),
        ("load.allow_redirects", "no", False),
        ("load.scrub_rate", "10M", 10 << 20),
        ("space.quota", "10G", 10 << 30),
        ("space.quota", "3kib", 3 << 10),
        ("space.quota", "7", 7),
        ("log_level", "debug", LogLevel.DEBUG),
    ],
)
def test_texts(key: str, text: str, value: object) -> None:
    """Seconds may be broken, counts are whole, sizes have units, a switch may stand alone."""
    found = CATALOGUE[key].kind.from_text(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(
            ("load.read_timeout", text)
            for text in ("", "x", "nan", "NaN", "-1", "inf", "-inf", "1e999", "1,5")
        ),
        *(("load.read_timeout", text) for text in ("0", "٣", "1_0", "0x1")),
        *(("load.read_ahead", text) for text in ("", "x", "-1", "1.5", "1e3", "nan", "9" * 40, "1_000", "٣")),
        *(("space.quota", text) for text in ("1X", "G", "1 G", "999999999999999T", "-1G")),
        *(("load.max_tries", text) for text in ("0", "1.5", "")),
        ("load.extra_traffic", "1.1"),
        ("load.span_size", "1K"),
        ("load.fill", "always"),
        ("load.allow_redirects", "maybe"),
        ("log_level", "INFO"),
        ("store", ""),
        ("store", "a\nb"),
        ("control.group", ""),
    ],
)
def test_bad_texts_are_one_line(key: str, text: str) -> None:
    """Neither NaN nor anything out of range comes through; the line says what is expected."""
    with pytest.raises(ValueError) as refused:
        CATALOGUE[key].kind.from_text(text)
    assert re.fullmatch("expected .*, found .*", str(refused.value))


@pytest.mark.parametrize(
    ("key", "toml", "value"),
    [
        ("load.read_timeout", "10", 10.0),
        ("load.read_timeout", "1e1", 10.0),
        ("load.max_tries", "0x10", 16),
        ("space.quota", '"1M"', 1 << 20),
        ("space.quota", "1_000", 1000),
        ("load.fill", "'idle'", Fill.IDLE),
        ("read_only", "true", True),
        ("fuse_options", '["noexec"]', ("noexec",)),
    ],
)
def test_toml(key: str, toml: str, value: object) -> None:
    """A number of seconds may be whole, a size a text."""
    found = CATALOGUE[key].kind.from_toml(tomllib.loads(f"x = {toml}")["x"])
    assert (found, type(found)) == (value, type(value))


VALUES = {
    "true": "true",
    "1": "1",
    "0.5": "0.5",
    '"text"': '"text"',
    "[1]": "a list",
    "{a = 1}": "a table",
    "1979-05-27": "a date or a time",
    "07:32:00": "a date or a time",
    "nan": "nan",
    "inf": "inf",
    "-1": "-1",
    f'"{"long" * 30}"': f'"{("long" * 30)[:57]}..."',
}


@pytest.mark.parametrize(
    ("key", "takes"),
    [
        ("read_only", ["true"]),
        ("load.max_tries", ["1"]),
        ("load.read_timeout", ["1", "0.5"]),
        ("space.quota", ["1"]),
        ("load.fill", []),
        ("control.group", ['"text"', f'"{"long" * 30}"']),
        ("store", ['"text"', f'"{"long" * 30}"']),
    ],
)
def test_toml_of_another_type(key: str, takes: list[str]) -> None:
    """True is no number, a number no text: what was found is shown, in short."""
    for toml, shown in VALUES.items():
        found: Any = tomllib.loads(f"x = {toml}")["x"]
        if toml in takes:
            CATALOGUE[key].kind.from_toml(found)
            continue
        with pytest.raises(ValueError) as refused:
            CATALOGUE[key].kind.from_toml(found)
        assert str(refused.value).endswith(f", found {shown}")


def test_ranges_hold_for_programs_too() -> None:
    """What cannot be set cannot be made either."""
    for wrong in ({"max_tries": 0}, {"read_timeout": 0}, {"span_size": 1}, {"extra_traffic": float("nan")}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*, not "):
            LoadSettings(**wrong)
