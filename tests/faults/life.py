"""One life of a store: from nothing, through storms and perhaps a crash, to an end that is looked at.

1. A node starts on a fresh store. In every other life it is killed (SIGKILL) while readers are at work, and
   starts again on what is there.
2. A few loads with all shares calm; when it is idle, its figures are taken.
3. The loads, in a storm.
4. The shares are calm again. What was begun is read to its end, right; nothing else than before is left.
   It ends well, and its log and its share are looked at.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import ENOENT
from pathlib import Path

from tests.faults import figures
from tests.faults.crew import Reader
from tests.faults.judging import GONE_ERRNOS, OPTIONS, Result, complaints
from tests.faults.ledger import Ledger
from tests.faults.orders import Order, Orders, whole
from tests.faults.phases import SHARES
from tests.faults.source import Entry
from tests.faults.weather import Weather
from tests.mount.node import BlobfsNode, log_records
from tests.mount.probes import PAUSE, assert_sound
from tests.servers.faults import RIGHT

READERS = 8
HEALING_SECONDS = 75.0
"""Until a share that was away is believed in again (30 s), a blob that failed rests no more (30 s)."""
IDLE_SECONDS = 45.0
"""Until what is idle is let go of: worker threads after 10 s, files asleep after `fill_after`."""
KEEPALIVE_SECONDS = 5.0
"""An idle connection of the daemon is not used after it; the next question closes it."""
FIGURES_PAUSE_SECONDS = 1.0
"""Between two looks: each one is a connection to the control socket itself, which takes a moment to go."""
EVIDENCE_SECONDS = 60.0
REMEMBERED_SECONDS = 3.0
"""For how long an answer may be believed: twice the time that names and failures are remembered, and some."""
SWEEP_PAUSE_SECONDS = 6.0
"""Between two attempts to read what failed; more often, and it is never put to sleep."""


class Life:
    """One store and the node on it. `step` gives order numbers to whoever is free."""

    def __init__(
        self,
        number: int,
        directory: Path,
        source: Path,
        orders: Orders,
        weather: Weather,
        ledger: Ledger,
    ) -> None:
        self._number = number
        self._directory = directory
        self._blobs = source / ".blobfs/blobs"
        self._weather = weather
        self._ledger = ledger
        self._chance = random.Random(f"{ledger.seed}:life:{number}")
        self._orders = orders
        self._kills = 0
        self._readers_lock = threading.Lock()
        self._readers: list[Reader] = []
        self._read_only = self._chance.random() < 0.5
        fill = self._chance.choice(("fill=never", "fill=idle"))
        self.node = BlobfsNode(
            directory,
            f"life{number}",
            shares=[share.url for share in weather.shares],
            options=[*OPTIONS, fill],
            arguments=["--read-only"] if self._read_only else [],
        )

    def run(self, numbers: Iterator[int], *, warm: int, loads: int, killed_after: int = 0) -> None:
        """`numbers` of the loads, as many as are said here. `killed_after` 0: it is not killed."""
        node = self.node
        node.expect_log("", perhaps=True)  # warnings are in order; the rest is looked at in `_check_log`
        with node:
            try:
                if killed_after:
                    self._weather.storm()
                    self._crew(map(self._orders.order, itertools.islice(numbers, killed_after)), kill=True)
                    self._weather.calm_down()
                calm = [self._orders.order(number, calm=True) for number in itertools.islice(numbers, warm)]
                self._crew(iter([*self._orders.biggest(READERS if warm else 0), *calm]), calm=True)
                before = self._settled_figures("warm-up") if warm else None
                self._weather.storm()
                self._crew(map(self._orders.order, itertools.islice(numbers, loads)))
                self._weather.calm_down()
                self._sweep()
                if before is not None:
                    self._compare(before)
            finally:
                self._weather.calm_down()
                self._end_readers()
                self._check_daemon()
                self._check_log()
        assert_sound(node.share)

    # The loads

    def _crew(self, orders: Iterator[Order], *, calm: bool = False, kill: bool = False) -> None:
        """Has `READERS` readers do these loads. `calm`: all of them must be right."""
        lock = threading.Lock()
        stop = threading.Event()

        def work() -> None:
            reader = Reader(
                self.node.mountpoint, self._blobs, self._directory / f"copy-{threading.get_ident()}"
            )
            with self._readers_lock:
                self._readers.append(reader)
            while not stop.is_set() and not self._ledger.is_over:
                with lock:
                    order = next(orders, None)
                if order is None:
                    break
                self._load(reader, order, calm=calm)
            reader.close()

        with ThreadPoolExecutor(READERS) as pool:
            working = [pool.submit(work) for _ in range(READERS)]
            if kill:
                self._until(lambda: all(each.done() for each in working), self._chance.uniform(2, 6))
                stop.set()
                self._kill()
            while not all(each.done() for each in working):
                self._tick()
                if self.node.process is not None and self.node.process.poll() is not None:
                    stop.set()
            for each in working:
                each.result()
        if kill:
            self.node.start()

    def _load(self, reader: Reader, order: Order, *, calm: bool) -> None:
        phase, kills = self._weather.phase, self._kills
        result = reader.run(order)
        beside_right = phase is self._weather.phase and RIGHT in phase.plans
        self._ledger.enter(order, result, beside_right=beside_right)
        killed = kills != self._kills or self._is_gone(result)
        for what in complaints(order, result, killed_daemon=killed):
            self._fail_load(order, phase.number, what)
        if result.errno == ENOENT and not killed:
            self._check_absent(order, phase.number, result)
        if calm and not killed and (result.errno or result.ended != "done"):
            self._fail_load(order, phase.number, f"{result.word}, though all shares were as they should be")

    def _check_absent(self, order: Order, phase: int, result: Result) -> None:
        """P4: only where every share has said so; but see S on names that could be created."""
        if not order.by_id and not self._read_only:
            return
        time.sleep(PAUSE)  # the shares write down what they did when they have done it
        said = self._weather.said_absent(_words(order), result.seconds + REMEMBERED_SECONDS)
        if said < SHARES:
            self._fail_load(order, phase, f"{result.word}, but only {said} of {SHARES} shares have said so")

    def _is_gone(self, result: Result) -> bool:
        """Whether the daemon's death, which is a failure of its own, explains a result."""
        process = self.node.process
        return result.errno in GONE_ERRNOS and (process is None or process.poll() is not None)

    def _fail_load(self, order: Order, phase: int, what: str) -> None:
        self._ledger.fail_load(order, phase, what, self._weather.evidence(_words(order), EVIDENCE_SECONDS))

    def _kill(self) -> None:
        self._kills += 1
        self.node.kill9()

    # The end

    def _sweep(self) -> None:
        """Reads what is here in part to its end. All of it must be right, soon."""
        begun = {path.name for path in (self.node.store / "partial").iterdir()}
        pending = {entry.blob: entry for entry in self._orders.entries if entry.blob in begun}
        reader = Reader(self.node.mountpoint, self._blobs, self._directory / "copy-sweep")
        end = time.monotonic() + HEALING_SECONDS
        words: dict[str, str] = {}
        while pending and not self._ledger.is_over:
            words = {blob: self._read_whole(reader, entry) for blob, entry in pending.items()}
            pending = {blob: entry for blob, entry in pending.items() if words[blob] != "right"}
            if time.monotonic() > end:
                break
            if pending:
                self._wait(SWEEP_PAUSE_SECONDS)
        for blob in pending:
            evidence = self._weather.evidence((blob,), HEALING_SECONDS + EVIDENCE_SECONDS)
            self._ledger.fail(
                f"life {self._number}: {blob} still {words[blob]}, {HEALING_SECONDS:.0f} s after "
                f"all shares are well again\n{evidence}"
            )
        reader.close()

    def _read_whole(self, reader: Reader, entry: Entry) -> str:
        order = whole(entry)
        result = reader.run(order)
        self._tick()
        for what in complaints(order, result):
            self._fail_load(order, self._weather.phase.number, f"sweep: {what}")
        return "not at its end" if result.enough else result.word

    def _settled_figures(self, when: str) -> figures.Figures:
        """Once nothing is under way, old connections are closed and threads are gone."""
        self._wait(KEEPALIVE_SECONDS)
        self._touch()
        found = figures.take(self.node)
        end = time.monotonic() + IDLE_SECONDS
        while not figures.is_idle(found):
            if time.monotonic() > end:
                self._ledger.fail(
                    f"life {self._number}: not idle {IDLE_SECONDS:.0f} s after the {when}: {found}"
                )
                break
            self._wait(FIGURES_PAUSE_SECONDS)
            found = figures.take(self.node)
        self._wait(FIGURES_PAUSE_SECONDS)
        return figures.take(self.node)

    def _touch(self) -> None:
        """One question to each share: their connections that have expired are found and closed."""
        for number in range(2):
            self.node.path(f"nobody has this {number}").exists()

    def _compare(self, before: figures.Figures) -> None:
        after = self._settled_figures("last load")
        end = time.monotonic() + IDLE_SECONDS
        while figures.leftovers(before, after) and time.monotonic() < end:
            self._wait(FIGURES_PAUSE_SECONDS)
            after = figures.take(self.node)
        print(f"life {self._number} ({' '.join([*self.node.options, *self.node.arguments])}):")
        print(figures.table(before, after), flush=True)
        for left in figures.leftovers(before, after):
            self._ledger.fail(f"life {self._number}: left over: {left}")

    def _check_daemon(self) -> None:
        process = self.node.process
        if process is not None and process.poll() is not None:
            self._ledger.fail(f"life {self._number}: the daemon died, exit code {process.returncode}")

    def _check_log(self) -> None:
        for record in log_records(self.node.log()):
            head, _, more = record.partition("\n")
            if " ERROR " in head or " CRITICAL " in head or "Traceback" in more or "Warning:" in record:
                self._ledger.fail(f"life {self._number}: in the daemon's log:\n{record[:6000]}")

    def _end_readers(self) -> None:
        for reader in self._readers:
            reader.close()

    # Waiting

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            self._tick()
        return True

    def _wait(self, seconds: float) -> None:
        self._until(lambda: False, seconds)

    def _tick(self) -> None:
        time.sleep(PAUSE)
        self._ledger.tick(self._weather.phase.name)
        if self.node.process is not None:
            self.node.prolong()


def _words(order: Order) -> tuple[str, ...]:
    """What stands in the paths of the requests of a load."""
    last = order.path.rpartition("/")[2]
    return order.blob, f'/{last}"', f"/{last}/"
