"""Whatever stands in a file or after ``-o``: it is taken, or refused with lines that tell where."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blobfs.config.catalogue import CATALOGUE, OPTIONS, SECTIONS, SHARE_CATALOGUE
from blobfs.config.show import show_json, show_toml
from blobfs.config.sources import read_sources
from blobfs.errors import ConfigRefused

texts = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "10G",
            "idle",
            "debug",
            "/dev/null",
            "credential:x",
            "credential:/",
            "127.0.0.1:1",
            "unix:/x",
            "systemd",
            "",
        ]
    ),
    st.builds(
        "{}://{}{}:{}/{}".format,
        st.sampled_from(["http", "https", "HTTP", "ftp"]),
        st.sampled_from(["", "u:p@", "@", "u@v@"]),
        st.sampled_from(["a", "[::1]", "[::1", "", "127.0.0.1", "ü", "a b", "[::1]]"]),
        st.sampled_from(["1", "", "0", "99999", "x", "-1"]),
        st.sampled_from(["", "x", "?q", "#f", "%"]),
    ),
)
scalars = st.one_of(texts, st.integers(), st.integers(-1, 10), st.floats(), st.booleans(), st.dates())
names = st.one_of(
    st.sampled_from(sorted({setting.name for setting in CATALOGUE.values()} | set(SHARE_CATALOGUE))),
    st.text(max_size=4),
)
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(names, scalars, max_size=2))
tables = st.dictionaries(names, values, max_size=4)
documents = st.tuples(
    tables,
    st.dictionaries(
        st.sampled_from([*filter(None, SECTIONS), "share"]), st.one_of(values, tables), max_size=3
    ),
    st.lists(tables, max_size=3),
)


def toml(value: Any) -> str:
    """On one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(name)} = {toml(found)}" for name, found in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return key(value) if isinstance(value, str) else str(value)


def key(text: str) -> str:
    escaped = "".join(c if c.isalnum() or c in " :/@._[]-" else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def written(document: tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]) -> str:
    top, sections, shares = document
    lines = [f"{key(name)} = {toml(value)}" for name, value in {**top, **sections}.items()]
    for share in shares if "share" not in {**top, **sections} else []:
        lines += ["[[share]]", *(f"{key(name)} = {toml(value)}" for name, value in share.items())]
    return "\n".join(lines)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents)
def test_any_file(
    tmp_path: Path, document: tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]
) -> None:
    """A line that is refused is one of the file; what is taken can be shown, and the credentials are not."""
    file = tmp_path / "node.toml"
    file.write_text(text := written(document), encoding="utf-8")
    tomllib.loads(text)
    try:
        reading = read_sources(Path("/mnt/x"), file, (), {})
    except ConfigRefused as refused:
        for line in str(refused).splitlines():
            found = re.match(rf"{re.escape(str(file))}:(\d+): \S.*: \S", line)
            assert found, line
            assert int(found[1]) <= text.count("\n") + 1
        return
    reading.settings()
    assert "p@" not in show_toml(reading) + str(show_json(reading))


def refused(option: str) -> list[str]:
    """The lines in which it is refused, if it is."""
    try:
        read_sources(Path("/mnt/x"), None, [option], {}).settings()
    except ConfigRefused as refusal:
        return str(refusal).splitlines()
    return []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*OPTIONS, "share", "plain_share", "ro", "x"]), texts), max_size=3))
def test_any_option(options: list[tuple[str, str]]) -> None:
    """It is taken or refused, in lines that begin with it."""
    typed = ",".join(f"{name}={re.sub(r'[^ -~]|,', '', value)}" for name, value in options)
    assert all(line.startswith("-o ") for line in refused(typed))


@pytest.mark.parametrize("text", ["", ",", ",,"])
def test_no_option(text: str) -> None:
    """Nothing at all is nothing."""
    assert refused(text) == []


@pytest.mark.parametrize(
    "text", ["\\", '"', '"a', "\\,", "=", "=x", "share", "share=", "ro=1", "\0", "store", "x\ny", "\x1b[0m"]
)
def test_odd_options(text: str) -> None:
    """What is none is refused."""
    (line,) = refused(text)
    assert line.startswith("-o ")
