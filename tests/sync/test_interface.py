"""The service in its thread: calls from other threads, tickets, callbacks, and its end."""

import logging
import threading
import time
from pathlib import Path

import pytest
import trio

from blobfs import errors
from blobfs.config.settings import Fill, LoadSettings, ShareSetting
from blobfs.record import BlobRecord
from blobfs.shares.address import ShareOptions
from blobfs.store.opening import open_store
from blobfs.sync import known_shares
from blobfs.sync.load_blob import LoadedBlob
from blobfs.sync.loading.fill import Filler
from blobfs.sync.thread import SyncThread
from tests.servers.nginx import Nginx
from tests.sync.fake_share import FakeShare
from tests.sync.running import content, open_descriptors

LIMIT = 20.0
"""Seconds; a test that waits for so long has failed."""
URL = "http://one/"
NEVER_FILL = LoadSettings(max_tries=1, fill=Fill.NEVER)


class LoopShare(FakeShare):
    """A fake share that other threads may wait for and tell to go on."""

    token: trio.lowlevel.TrioToken

    async def __aenter__(self) -> "LoopShare":
        self.token = trio.lowlevel.current_trio_token()
        return self

    def wait_asked(self) -> None:
        """Until a request hangs or waits at the gate."""
        trio.from_thread.run(self.waiting.wait, trio_token=self.token)

    def open_gate(self) -> None:
        trio.from_thread.run_sync(self.gate.set, trio_token=self.token)


class Told:
    """What the callbacks were called with, in order; and from where."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.threads: set[str] = set()
        self.completed = threading.Semaphore(0)

    def on_success(self, result: object) -> None:
        self._note("success", result)

    def on_error(self, error: Exception) -> None:
        self._note("error", error)

    def on_complete(self) -> None:
        self._note("complete", None)
        self.completed.release()

    def _note(self, what: str, value: object) -> None:
        self.calls.append((what, value))
        self.threads.add(threading.current_thread().name)

    def wait(self, times: int = 1) -> list[str]:
        """Until so many commands are complete; which callbacks were called."""
        for _ in range(times):
            assert self.completed.acquire(timeout=LIMIT)
        return [what for what, _ in self.calls]

    @property
    def error(self) -> object:
        (error,) = (value for what, value in self.calls if what == "error")
        return error


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> LoopShare:
    """What a thread that has the share `URL` asks."""
    fake = LoopShare(URL)

    def make(options: ShareOptions) -> FakeShare:
        return fake

    monkeypatch.setattr(known_shares, "Share", make)
    return fake


def make_thread(root: Path, **limits: int) -> SyncThread:
    return SyncThread(root, [ShareSetting(URL)], NEVER_FILL, **limits)


def script(share: LoopShare, **scripts: str) -> None:
    share._scripts.update(scripts)


def is_clean(root: Path) -> bool:
    """Whether the last end left nothing to redo."""
    store = open_store(root)
    store.close()
    return store.was_clean


def blobfs_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("blobfs")]


def test_from_one_program_to_another(tmp_path: Path, told: Told) -> None:
    """What one shares the other loads, over any web server; both are told of it."""
    raw = content(3_000_000)
    source = tmp_path / "source"
    source.write_bytes(raw)
    with SyncThread(tmp_path / "a") as one, Nginx(tmp_path / "a" / "share") as nginx:
        record = one.interface.share_blob("models/a.gguf", source).result(LIMIT)
        with SyncThread(tmp_path / "b", [ShareSetting(nginx.url)]) as two:
            ticket = two.interface.load_blob(
                "models/a.gguf",
                on_success=told.on_success,
                on_error=told.on_error,
                on_complete=told.on_complete,
            )
            loaded = ticket.result(LIMIT)
            assert told.wait() == ["success", "complete"]
    assert told.calls[0] == ("success", loaded)
    assert (loaded.name, loaded.blob, loaded.size) == ("models/a.gguf", record.blob, len(raw))
    assert loaded.path.read_bytes() == raw
    assert is_clean(tmp_path / "a")
    assert is_clean(tmp_path / "b")
    assert blobfs_threads() == []


def test_shares_that_a_call_names(tmp_path: Path) -> None:
    """The node knows none; a URL is enough. What was loaded is shared in turn."""
    with SyncThread(tmp_path / "a") as one, Nginx(tmp_path / "a" / "share") as nginx:
        one.interface.share_blob("name", b"content").result(LIMIT)
        with SyncThread(tmp_path / "b") as two:
            with pytest.raises(errors.AbsentEverywhere):
                two.interface.load_blob("name").result(LIMIT)
            dead = "http://127.0.0.1:9/"
            loaded = two.interface.load_blob("name", [dead, nginx.url], max_tries=2).result(LIMIT)
        with SyncThread(tmp_path / "c") as three, Nginx(tmp_path / "b" / "share") as again:
            assert three.interface.load_blob("name", [again.url]).result(LIMIT).blob == loaded.blob


def test_an_error_is_told_and_raised(tmp_path: Path, told: Told) -> None:
    """By on_error and then on_complete, and by the ticket; it is no defect and not logged."""
    with SyncThread(tmp_path / "a") as thread:
        ticket = thread.interface.share_blob(
            ".blobfs/x", b"", on_success=told.on_success, on_error=told.on_error, on_complete=told.on_complete
        )
        with pytest.raises(errors.InvalidName) as raised:
            ticket.result(LIMIT)
        assert told.wait() == ["error", "complete"]
    assert told.error is raised.value
    assert ticket.is_ended


@pytest.mark.parametrize(
    "wrong",
    [{"max_tries": 0}, {"known_shares": URL}],
)
def test_what_is_wrong_with_a_call_is_raised_by_it(tmp_path: Path, wrong: dict[str, object]) -> None:
    """What the program did wrong it is told where it did it."""
    with SyncThread(tmp_path / "a") as thread, pytest.raises(ValueError, match=r"max_tries|known_shares"):
        thread.interface.load_blob("name", **wrong)  # type: ignore[arg-type]


def test_waiting_for_a_ticket_with_a_limit(tmp_path: Path, share: LoopShare) -> None:
    """TimeoutError, and the command goes on."""
    share.publish("name", b"content")
    script(share, blob="g")
    with make_thread(tmp_path / "a") as thread:
        ticket = thread.interface.load_blob("name")
        share.wait_asked()
        with pytest.raises(TimeoutError):
            ticket.result(0)
        assert not ticket.is_ended
        share.open_gate()
        assert ticket.result(LIMIT).path.read_bytes() == b"content"


def test_a_deadline_is_on_the_monotonic_clock(tmp_path: Path, share: LoopShare) -> None:
    """Past or near: what is not here by then is not waited for."""
    script(share, record="h*")
    with make_thread(tmp_path / "a") as thread:
        for seconds in -1.0, 0.05:
            with pytest.raises(errors.DeadlineExceeded):
                thread.interface.load_blob("other", deadline=time.monotonic() + seconds).result(LIMIT)
        assert thread.interface.statistics()["load"].failed == 2


def test_cancelling(tmp_path: Path, share: LoopShare, told: Told) -> None:
    """Before its turn and while it runs: CommandCancelled, told once; afterwards nothing happens."""
    for name in "ab":
        share.publish(name, b"content")
    script(share, record="h*")
    with make_thread(tmp_path / "a", concurrent=1) as thread:
        running = thread.interface.load_blob("a", on_error=told.on_error, on_complete=told.on_complete)
        share.wait_asked()
        waiting = thread.interface.load_blob("b", on_error=told.on_error, on_complete=told.on_complete)
        for ticket in waiting, running:
            ticket.cancel()
            ticket.cancel()
            with pytest.raises(errors.CommandCancelled):
                ticket.result(LIMIT)
        assert told.wait(2) == ["error", "complete"] * 2
    running.cancel()
    assert told.wait(0) == ["error", "complete"] * 2


def test_a_callback_that_raises(tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the callbacks after it are called, of this command and of others."""

    def broken(result: object) -> None:
        raise ValueError("a broken callback")

    def leaving() -> None:
        raise SystemExit(3)

    with SyncThread(tmp_path / "a") as thread:
        share_blob = thread.interface.share_blob
        share_blob("one", b"1", on_success=broken, on_complete=told.on_complete).result(LIMIT)
        share_blob("two", b"2", on_complete=leaving).result(LIMIT)
        share_blob("three", b"3", on_complete=told.on_complete).result(LIMIT)
        assert told.wait(2) == ["complete", "complete"]
    assert "a broken callback" in caplog.text
    assert "SystemExit" in caplog.text


def test_a_callback_that_takes_long(tmp_path: Path, told: Told) -> None:
    """Nothing but other callbacks waits for it."""
    go_on = threading.Event()
    with SyncThread(tmp_path / "a") as thread:
        slow = thread.interface.share_blob("slow", b"1", on_success=lambda _: go_on.wait(LIMIT))
        assert slow.result(LIMIT).size == 1
        quick = thread.interface.share_blob("quick", b"22", on_complete=told.on_complete)
        assert quick.result(LIMIT).size == 2
        assert told.calls == []
        go_on.set()
        told.wait()
    assert told.threads == {"blobfs callbacks"}


def test_a_callback_may_call(tmp_path: Path) -> None:
    """Also wait for what it asked for, and even end the service."""
    chained: list[LoadedBlob] = []
    ended = threading.Event()
    thread = SyncThread(tmp_path / "a")
    thread.start()

    def chain(record: BlobRecord) -> None:
        chained.append(thread.interface.load_blob("name").result(LIMIT))
        thread.join()
        ended.set()

    thread.interface.share_blob("name", b"content", on_success=chain)
    assert ended.wait(LIMIT)
    assert thread.join()
    assert [loaded.path.read_bytes() for loaded in chained] == [b"content"]


def test_many_threads_at_once(tmp_path: Path, told: Told) -> None:
    """A hundred threads share and load: each gets what is its own, each command is told of once."""
    count = 100
    start = threading.Barrier(count)
    loaded: dict[int, bytes] = {}
    thread = SyncThread(tmp_path / "a")

    def use(number: int) -> None:
        start.wait(LIMIT)
        interface = thread.interface
        raw = f"content of {number}".encode()
        interface.share_blob(f"d/{number}", raw, on_complete=told.on_complete).result(LIMIT)
        ticket = interface.load_blob(f"d/{number}", on_complete=told.on_complete)
        loaded[number] = ticket.result(LIMIT).path.read_bytes()

    with thread:
        users = [threading.Thread(target=use, args=(number,)) for number in range(count)]
        for user in users:
            user.start()
        for user in users:
            user.join(LIMIT)
        statistics = thread.interface.statistics()
    assert loaded == {number: f"content of {number}".encode() for number in range(count)}
    assert told.wait(2 * count) == ["complete"] * (2 * count)
    for kind in "share", "load":
        assert (statistics[kind].sent, statistics[kind].done) == (count, count)
        assert statistics[kind].waited.count == statistics[kind].worked.count == count


def test_too_many_commands(tmp_path: Path, share: LoopShare, told: Told) -> None:
    """QueueFull is raised by the call that is too much; nothing else is told of it, and shares still work."""
    script(share, record="g*")
    with make_thread(tmp_path / "a", capacity=2, concurrent=1) as thread:
        tickets = [thread.interface.load_blob("a")]
        share.wait_asked()
        tickets += [thread.interface.load_blob(name) for name in "bc"]
        with pytest.raises(errors.QueueFull):
            thread.interface.load_blob("d", on_error=told.on_error, on_complete=told.on_complete)
        assert thread.interface.share_blob("own", b"own").result(LIMIT).size == 3
        share.open_gate()
        for ticket in tickets:
            with pytest.raises(errors.AbsentEverywhere):
                ticket.result(LIMIT)
        assert thread.interface.statistics()["load"].refused == 1
    assert told.calls == []


# The end


def test_the_end_waits_for_what_was_accepted(tmp_path: Path, share: LoopShare) -> None:
    """Nothing new is accepted meanwhile; the store is left clean."""
    share.publish("name", b"content")
    script(share, blob="g")
    thread = make_thread(tmp_path / "a")
    thread.start()
    interface = thread.interface
    ticket = interface.load_blob("name")
    share.wait_asked()
    ends: list[bool] = []
    joining = threading.Thread(target=lambda: ends.append(thread.join(LIMIT)))
    joining.start()

    def is_refused() -> bool:
        try:
            interface.share_blob("other", b"other").result(LIMIT)
        except errors.ServiceEnded:
            return True
        except errors.NameExists:
            return False
        return False

    while not is_refused():
        assert not ticket.is_ended
    share.open_gate()
    joining.join(LIMIT)
    assert ends == [True]
    assert ticket.result(0).path.read_bytes() == b"content"
    assert is_clean(tmp_path / "a")


def test_what_does_not_end_in_time_is_told_so(tmp_path: Path, share: LoopShare, told: Told) -> None:
    """Whether it ran or waited for its turn: ServiceEnded, once; the store is left clean all the same."""
    script(share, record="h*")
    thread = make_thread(tmp_path / "a", concurrent=1)
    thread.start()
    tickets = []
    for name in "abc":
        tickets.append(thread.interface.load_blob(name, on_error=told.on_error, on_complete=told.on_complete))
    share.wait_asked()
    assert thread.join(0)
    for ticket in tickets:
        with pytest.raises(errors.ServiceEnded):
            ticket.result(0)
    assert told.wait(3) == ["error", "complete"] * 3
    assert is_clean(tmp_path / "a")


def test_after_the_end(tmp_path: Path) -> None:
    """join does nothing more, calls are refused, cancelling is harmless, and nothing is left open."""
    before = open_descriptors()
    thread = SyncThread(tmp_path / "a")
    assert thread.join()
    thread.start()
    ticket = thread.interface.share_blob("name", b"content")
    ticket.result(LIMIT)
    assert thread.join()
    assert thread.join(0)
    with pytest.raises(errors.ServiceEnded):
        thread.interface.share_blob("other", b"content")
    with pytest.raises(errors.ServiceEnded):
        thread.interface.load_blob("other")
    ticket.cancel()
    assert thread.interface.statistics()["share"].done == 1
    with pytest.raises(RuntimeError):
        thread.start()
    assert blobfs_threads() == []
    assert open_descriptors() == before
    with SyncThread(tmp_path / "a") as again:
        assert again.interface.load_blob("name").result(LIMIT).path.read_bytes() == b"content"


def test_a_callback_that_hangs_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service ends and the store is closed; join says that not every callback was called."""
    go_on = threading.Event()
    monkeypatch.setattr("blobfs.sync.thread.CLOSE_WITHIN", 0.1)
    thread = SyncThread(tmp_path / "a")
    thread.start()
    thread.interface.share_blob("name", b"content", on_complete=lambda: go_on.wait(LIMIT)).result(LIMIT)
    try:
        while thread._thread.is_alive():
            assert not thread.join(0)
        assert is_clean(tmp_path / "a")
    finally:
        go_on.set()
    while not thread.join(LIMIT):
        pass


def test_it_cannot_start(tmp_path: Path) -> None:
    """start raises what stands against it, and leaves no thread."""
    with SyncThread(tmp_path / "a"):
        second = SyncThread(tmp_path / "a")
        with pytest.raises(errors.StoreRefused, match="in use"):
            second.start()
        with pytest.raises(errors.StoreRefused):
            _ = second.interface
        assert second.join()
    with pytest.raises(errors.StartRefused, match="URL"), SyncThread(tmp_path / "b", [ShareSetting("x")]):
        pass
    assert not (tmp_path / "b").exists()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = SyncThread(tmp_path / "a").interface
    assert blobfs_threads() == []


def test_the_service_breaks_down(
    tmp_path: Path,
    share: LoopShare,
    told: Told,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A defect in its midst: everything that was accepted is told, the log has the traceback."""
    script(share, record="h*")

    async def break_down(self: Filler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await share.waiting.wait()
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Filler, "run", break_down)
    with make_thread(tmp_path / "a") as thread:
        ticket = thread.interface.load_blob("a", on_error=told.on_error, on_complete=told.on_complete)
        with pytest.raises(errors.ServiceEnded):
            ticket.result(LIMIT)
        assert told.wait() == ["error", "complete"]
        thread._thread.join(LIMIT)
        with pytest.raises(errors.ServiceEnded):
            thread.interface.share_blob("b", b"")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "a defect" in caplog.text
    assert not is_clean(tmp_path / "a")


async def test_a_trio_task_is_refused(tmp_path: Path) -> None:
    """It would block its own loop."""
    thread = SyncThread(tmp_path / "a")
    await trio.to_thread.run_sync(thread.start)
    try:
        with pytest.raises(RuntimeError):
            thread.interface.share_blob("name", b"")
    finally:
        assert await trio.to_thread.run_sync(thread.join)


def test_names_of_states(tmp_path: Path) -> None:
    """What is shown in a log or a debugger."""
    thread = SyncThread(tmp_path / "a")
    states = [repr(thread)]
    with thread:
        states.append(repr(thread))
        ticket = thread.interface.share_blob("name", b"")
        ticket.result(LIMIT)
        assert repr(ticket) == "<Ticket ended>"
    states.append(repr(thread))
    assert [state.rpartition(f"{tmp_path}/a ")[2] for state in states] == [
        "not started>",
        "running>",
        "ended>",
    ]
