"""The lines of the keys of a TOML document."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobfs.config.toml_lines import Place, find_lines


def places(found: Any, place: Place = ()) -> Iterator[Place]:
    """Of everything in a document, as `tomllib` sees it."""
    if place:
        yield place
    if isinstance(found, dict):
        for key, value in found.items():
            yield from places(value, (*place, key))
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from places(value, (*place, number))


def at(document: Any, place: Place) -> Any:
    for part in place:
        document = document[part]
    return document


ODD = '''\
# first = 1
a = 1
"quoted key".b.'c' = """text
# no = 1
""""" # two quotes belong to it
'' = ""
[ load . x ]  # a header with spaces
list = [ 1, # no = 3
  { z = 1, w.v = [2] },
 "]", '}', """]
"""
]
stands.alone = true
[[share]]
url = 'http://a/#no'
[[share]]
[share.deeper]
day = 1979-05-27 07:32:00
[[share.deeper.list]]
text = \'\'\'
[no]
no = 1
\'\'\'
[other]
[load]
after = -1_000.5e+3
'''


def test_an_odd_layout() -> None:
    """Dotted and quoted keys, texts and lists over several lines, inline tables, lists of tables, a table
    that is opened late."""
    lines = find_lines(ODD)
    assert set(lines) == set(places(tomllib.loads(ODD)))
    expected = {
        ("a",): 2,
        ("quoted key", "b", "c"): 3,
        ("",): 6,
        ("load",): 7,
        ("load", "x", "list"): 8,
        ("load", "x", "list", 0): 8,
        ("load", "x", "list", 1, "w", "v", 0): 9,
        ("load", "x", "list", 2): 10,
        ("load", "x", "list", 4): 10,
        ("load", "x", "stands", "alone"): 13,
        ("share",): 14,
        ("share", 0, "url"): 15,
        ("share", 1): 16,
        ("share", 1, "deeper", "day"): 18,
        ("share", 1, "deeper", "list", 0, "text"): 20,
        ("other",): 24,
        ("load", "after"): 26,
    }
    assert {place: lines[place] for place in expected} == expected


def test_lines_that_end_as_on_windows() -> None:
    """The carriage return counts for nothing."""
    assert find_lines(ODD.replace("\n", "\r\n")) == find_lines(ODD)


@pytest.mark.parametrize("text", ["", "\n", "# only this", "a = 1", "[a]", "a = [\n]", "a={}"])
def test_small_documents(text: str) -> None:
    """With and without an end of the last line."""
    assert set(find_lines(text)) == set(places(tomllib.loads(text)))


# Random documents: each value is a number that stands nowhere else, so that its line can be searched for.

VALUE = "@"
keys = st.sampled_from(["a", "b", "c", '"a.b"', "'c'", '"\\u0061"', "1", "-"])
dotted = st.lists(keys, min_size=1, max_size=3).map(" . ".join)
noise = st.sampled_from(
    [
        "",
        "# a = 1",
        "  ",
        "a = '''\n[b]\nc = 2\n'''",
        'b = """\\"""\n# x\n""""',
        'c = "# [a] \\" ="',
        "a = 1979-05-27",
    ]
)
values = st.recursive(
    st.just(VALUE),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: "[ " + ", # ] }\n".join(items) + " ]"),
        st.lists(st.tuples(dotted, inner).map(" = ".join), max_size=3).map(
            lambda pairs: f"{{ {', '.join(pairs)} }}"
        ),
    ),
    max_leaves=3,
)
pieces = st.one_of(
    noise,
    dotted.map(lambda key: f"[{key}]"),
    dotted.map(lambda key: f"[[ {key} ]] # end"),
    st.tuples(dotted, values).map("=".join),
)


def joined(drawn: list[str]) -> str:
    """The pieces one after the other, but for those with which `tomllib` would not accept it."""
    numbers = count(1000)
    text = ""
    for piece in drawn:
        candidate = f"{text}{re.sub(VALUE, lambda _: str(next(numbers)), piece)}\n"
        with suppress(tomllib.TOMLDecodeError):
            tomllib.loads(candidate)
            text = candidate
    return text


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=10).map(joined))
def test_every_key_is_found_where_it_stands(text: str) -> None:
    """What is found is what `tomllib` finds, and every value stands on the line of its key or element."""
    lines = find_lines(text)
    document = tomllib.loads(text)
    assert set(lines) == set(places(document))
    for place, line in lines.items():
        found = text.splitlines()[line - 1]
        if type(value := at(document, place)) is int:
            assert str(value) in found
        if isinstance(place[-1], str):
            assert place[-1] in found or "\\u0061" in found
