"""A manual page for each command: of its help, and of what no help says (`sections`)."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from inspect import cleandoc
from pathlib import Path

import click

from blobfs.cli.main import main
from tools.manual.roff import Row, bold, definitions, escape, paragraphs, prose, usage
from tools.manual.sections import OVERVIEW, Sections, sections_of


def write_pages(directory: Path) -> list[Path]:
    """Makes the directory if it is not there. Returns what was written, blobfs.1 first."""
    assert isinstance(main, click.Group)
    ctx = click.Context(main, info_name="blobfs", **main.context_settings)
    directory.mkdir(parents=True, exist_ok=True)
    pages = {"blobfs": "\n".join(_main_page(ctx, main))}
    for name, summary in _commands(ctx, main):
        command = main.get_command(ctx, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=ctx)
        pages[f"blobfs-{name}"] = "\n".join(_page(below, f"blobfs-{name}", summary))
    paths = [directory / f"{name}.1" for name in pages]
    for path, text in zip(paths, pages.values(), strict=True):
        path.write_text(text + "\n", encoding="utf-8")
    return paths


class _Taken(click.HelpFormatter):
    """Takes down the lists of a help, with their headings, instead of setting them."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[tuple[str, list[Row]]] = []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self.lists.append((name, []))
        yield

    def write_dl(self, rows: Iterable[Row], col_max: int = 30, col_spacing: int = 2) -> None:
        self.lists[-1][1].extend(rows)


def _commands(ctx: click.Context, group: click.Group) -> list[Row]:
    taken = _Taken()
    group.format_commands(ctx, taken)
    return taken.lists[0][1]


def _page(ctx: click.Context, name: str, summary: str) -> Iterator[str]:
    yield from _head(ctx, name, summary)
    yield ".SH DESCRIPTION"
    yield from paragraphs(cleandoc(ctx.command.help or ""))
    yield from _options(ctx)
    yield from _sections(sections_of(name))


def _main_page(ctx: click.Context, group: click.Group) -> Iterator[str]:
    yield from _head(ctx, "blobfs", "share what is written to a directory, load what is read from it")
    yield ".SH DESCRIPTION"
    yield from paragraphs(f"{cleandoc(group.help or '')} {OVERVIEW}")
    yield from _options(ctx)
    yield ".SH COMMANDS"
    yield from definitions((rf"{bold(f'blobfs-{name}')}(1)", told) for name, told in _commands(ctx, group))
    yield from _sections(sections_of("blobfs"))


def _head(ctx: click.Context, name: str, summary: str) -> Iterator[str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    yield f'.TH {escape(name.upper())} 1 {day} "blobfs {version("blobfs")}" "User Commands"'
    yield ".SH NAME"
    yield rf"{escape(name)} \- {prose(summary[0].lower() + summary[1:].rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f"{bold(ctx.command_path)} {usage(' '.join(ctx.command.collect_usage_pieces(ctx)))}"


def _options(ctx: click.Context) -> Iterator[str]:
    taken = _Taken()
    ctx.command.format_options(ctx, taken)
    lists = [(heading, rows) for heading, rows in taken.lists if heading != "Commands"]
    for number, (heading, rows) in enumerate(lists):
        yield f".SH {heading.upper()}" if not number else f'.SS "{heading}"'
        yield from definitions((usage(term), meaning) for term, meaning in rows)


def _sections(sections: Sections) -> Iterator[str]:
    for heading, content in sections.items():
        yield f'.SH "{heading}"'
        if isinstance(content, str):
            yield from paragraphs(cleandoc(content))
        else:
            yield from definitions((bold(term), meaning) for term, meaning in content)
