"""Reading a directory's log in steps: where a reader stands, what it knows, and what is new. Pure.

1. A reader remembers the log's generation, the offset behind the last whole line it has seen, and that line.
   It asks for the bytes from the beginning of that line on: if they do not begin with the same line, the log
   is another one and is read from its first byte.
2. In a rebuilt log that line may stand at that offset by chance; so its first line stands again behind what
   it was rebuilt from, and another generation there tells.
3. What came is known as soon as it came, so a long log on a slow line is read in several goes. A log that
   replaces another one counts when it has come to its end; until then the old one does.
4. A cache may answer with an older copy: a shorter one of the same generation, or one of a generation that
   was made earlier. It takes no name away, unless it goes on for so long that it is no cache's
   (`believes_older`).
5. A line without its LF is still being written and is left for later.
"""

from dataclasses import dataclass, field

from blobfs.model import Invalid
from blobfs.record import decode_log_header, decode_log_made
from blobfs.shares.packed import Packed, pack_line

MAX_LOG_BYTES = 1 << 30
"""Of one log, read at once or in steps: some four million lines. It is never in memory as a whole."""
MAX_LOG_NAMES = 1_500_000
"""In one directory, some 350 MB of memory; more is a mistake or an attack. Names beyond are not listed, they
can still be opened."""
MAX_LINE_BYTES = 1 << 20
"""A longer line is refused with its log, as it has to be held in memory; an entry has 32 KiB at most."""

HEADER_START = b'{"log":'
"""What tells a log's header from its entries without parsing every line twice."""


class LogTooLong(Invalid):
    """More than a reader takes."""


@dataclass(eq=False, slots=True)
class LogCopy:
    """What was read of one generation of a log, up to `offset`. Changed only by `LogReading`."""

    generation: str
    made_ns: int | None
    """When its writer began it, if that is said."""
    offset: int
    """Behind `last_line`."""
    last_line: bytes
    """With its LF; the header if there is nothing else yet."""
    entries: dict[str, Packed] = field(default_factory=dict)

    @property
    def resume_offset(self) -> int:
        return self.offset - len(self.last_line)


class LogReading:
    """One log, as far as it is known. Fed with an answer's body: `begin_*`, then `feed`, then `finish`.

    Mutable: everything, by these. `version` changes with what is known; `entries` grow in place, and are
    another dictionary after the log was replaced.
    """

    def __init__(self) -> None:
        self.known: LogCopy | None = None
        self.version = 0
        self.is_older = False
        """The last whole answer was an older copy than what is known, which was kept."""
        self.believes_older = False
        """Set from outside: an older copy counts after all."""
        self.changed: set[str] = set()
        """Components that mean something else than before; taken, and emptied, from outside."""
        self.replaced: dict[str, Packed] | None = None
        """The entries of a log that was replaced: what is not as in there has changed too. Taken likewise."""
        self._coming: LogCopy | None = None
        self._target: LogCopy | None = None
        self._expected = b""
        self._rest = b""
        self._is_tail = False
        self._is_another = False

    def __repr__(self) -> str:
        known = self.known
        said = "nothing" if known is None else f"{known.generation} to {known.offset}"
        return f"<LogReading {said}, {len(self.entries)} names>"

    @property
    def entries(self) -> dict[str, Packed]:
        return self.known.entries if self.known is not None else {}

    @property
    def offset(self) -> int:
        """How far the last reading came."""
        copy = self._coming or self.known
        return copy.offset if copy is not None else 0

    @property
    def resume_offset(self) -> int | None:
        """From where on it is asked for; None is from its first byte, by a request without a range."""
        copy = self._coming or self.known
        return None if copy is None or self._is_another else copy.resume_offset

    def begin_tail(self) -> None:
        """A body follows that begins at `resume_offset`."""
        self._target = self._coming or self.known
        assert self._target is not None
        self._expected, self._rest, self._is_tail = self._target.last_line, b"", True

    def begin_whole(self) -> None:
        """A body follows that begins at the first byte."""
        self._coming = self._target = None
        self._expected = self._rest = b""
        self._is_tail = self._is_another = False

    def feed(self, piece: bytes) -> bool:
        """False: it is another log than the one that was begun, to be read as a whole. Raises `Invalid`."""
        raw = self._rest + piece if self._rest else piece
        if self._expected:
            compared = min(len(raw), len(self._expected))
            if raw[:compared] != self._expected[:compared]:
                return self._give_up()
            if compared < len(self._expected):
                self._rest = raw
                return True
            raw, self._expected = raw[compared:], b""
        end = raw.rfind(b"\n") + 1
        self._rest = raw[end:]
        if len(self._rest) > MAX_LINE_BYTES:
            raise LogTooLong(f"log with a line longer than {MAX_LINE_BYTES} bytes")
        return self._take(raw[:end]) if end else True

    def finish(self) -> bool:
        """As `feed`, at the end of the body."""
        if self._expected:
            return self._give_up()
        target, self._target = self._target, None
        if target is None:
            raise Invalid("a directory log without a header")
        self._is_another = self.is_older = False
        if target is not self.known:
            self._replace(target)
        return True

    def forget(self) -> None:
        """There is no such log any more."""
        self.replaced = self.entries
        self.known = self._coming = self._target = None
        self._is_another = self.is_older = False
        self.version += 1

    def _replace(self, coming: LogCopy) -> None:
        self._coming = None
        if self.known is not None and _is_older(coming, self.known) and not self.believes_older:
            self.is_older = True
            return
        if self.known is not None:
            self.replaced = self.known.entries
        self.known = coming
        self.version += 1

    def _give_up(self) -> bool:
        if self._target is self._coming:
            self._coming = None
        self._target, self._expected, self._rest = None, b"", b""
        self._is_another = True
        return False

    def _take(self, lines: bytes) -> bool:
        """Whole lines."""
        target = self._target or self._open(lines)
        entries, is_known = target.entries, target is self.known
        for line in lines.split(b"\n"):
            if line.startswith(HEADER_START):
                if self._is_tail and _generation(line) not in (None, target.generation):
                    return self._give_up()
                continue
            entry = pack_line(line) if line else None
            if entry is None:
                continue
            component, packed = entry
            if is_known and entries.get(component) != packed:
                self.changed.add(component)
            entries[component] = packed
        target.offset += len(lines)
        target.last_line = lines[lines.rfind(b"\n", 0, -1) + 1 :]
        self.version += is_known
        if target.offset > MAX_LOG_BYTES:
            raise LogTooLong(f"log larger than {MAX_LOG_BYTES} bytes")
        if len(entries) > MAX_LOG_NAMES:
            raise LogTooLong(f"log with more than {MAX_LOG_NAMES} names")
        return True

    def _open(self, lines: bytes) -> LogCopy:
        """A copy that begins with these lines; what is the first to be known is so at once."""
        header = lines[: lines.index(b"\n") + 1]
        self._target = LogCopy(decode_log_header(header), decode_log_made(header), 0, header)
        if self.known is None:
            self.known = self._target
        else:
            self._coming = self._target
        return self._target


def _is_older(copy: LogCopy, known: LogCopy) -> bool:
    if copy.generation == known.generation:
        return copy.offset < known.offset
    return copy.made_ns is not None and known.made_ns is not None and copy.made_ns < known.made_ns


def _generation(line: bytes) -> str | None:
    """What a header line says; None for a damaged one, which is skipped like any other."""
    try:
        return decode_log_header(line)
    except Invalid:
        return None
