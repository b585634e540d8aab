"""The measured channel: order, bounds, and that every command's end is reported exactly once."""

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.sync.commands import Command, Commands, Done, Ending

KINDS = ("share", "load")


class Sent:
    """Commands that were sent and how they ended; `begun` tells in which order they were started."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.endings: dict[str, list[Ending]] = {}
        self.gates: dict[str, trio.Event] = {}

    def command(
        self,
        label: str,
        kind: str = "load",
        *,
        work: Callable[[], Awaitable[object]] | None = None,
        deadline: float = math.inf,
    ) -> Command:
        """Without `work` it ends with its label when its gate is opened."""
        gate = self.gates[label] = trio.Event()
        self.endings[label] = []

        async def at_gate() -> object:
            self.begun.append(label)
            if work is not None:
                return await work()
            await gate.wait()
            return label

        return Command(kind, at_gate, self.endings[label].append, deadline)

    def ending(self, label: str) -> Ending:
        """The one report of a command."""
        (ending,) = self.endings[label]
        return ending

    def open(self, *labels: str) -> None:
        for label in labels or self.gates:
            self.gates[label].set()


@pytest.fixture
def sent() -> Sent:
    return Sent()


@asynccontextmanager
async def looping(commands: Commands) -> AsyncIterator[trio.CancelScope]:
    async with trio.open_nursery() as nursery:
        await nursery.start(commands.run)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def test_a_value_is_reported(sent: Sent) -> None:
    """A command that was done reports its value, once."""
    commands = Commands(KINDS)
    async with looping(commands):
        commands.send_nowait(sent.command("a"))
        await wait_all_tasks_blocked()
        assert sent.endings["a"] == []
        sent.open()
        await commands.wait_idle()
    assert sent.ending("a") == Done("a")


async def test_commands_of_a_kind_start_in_order(sent: Sent) -> None:
    """Also when they have to wait until others are done."""
    commands = Commands(KINDS, concurrent=2)
    async with looping(commands):
        for label in "abcde":
            commands.send_nowait(sent.command(label))
        await wait_all_tasks_blocked()
        assert sorted(sent.begun) == ["a", "b"]
        sent.open("b")
        await wait_all_tasks_blocked()
        assert sent.begun[2:] == ["c"]
        sent.open()
        await commands.wait_idle()
    assert sent.begun[3:] in (["d", "e"], ["e", "d"])  # both were free to start at once
    assert all(len(endings) == 1 for endings in sent.endings.values())


async def test_loads_that_wait_delay_no_share(sent: Sent) -> None:
    """Each kind has its own limits: as many loads as may run, and may wait, take nothing from a share."""
    commands = Commands(KINDS, capacity=2, concurrent=2)
    async with looping(commands):
        for label in "ab":
            commands.send_nowait(sent.command(label))
        await wait_all_tasks_blocked()
        for label in "cd":
            commands.send_nowait(sent.command(label))
        commands.send_nowait(sent.command("s", "share"))
        sent.open("s")
        await wait_all_tasks_blocked()
        assert sent.ending("s") == Done("s")
        assert commands.statistics()["load"].waiting == 2


async def test_a_full_line_refuses(sent: Sent) -> None:
    """QueueFull says so to the sender; a refused command is not reported, and room that comes is used."""
    commands = Commands(KINDS, capacity=2, concurrent=1)
    async with looping(commands):
        commands.send_nowait(sent.command("running"))
        await wait_all_tasks_blocked()
        for label in "ab":
            commands.send_nowait(sent.command(label))
        with pytest.raises(errors.QueueFull, match="2 commands to load wait"):
            commands.send_nowait(sent.command("refused"))
        sent.open("running")
        await wait_all_tasks_blocked()
        commands.send_nowait(sent.command("c"))
        sent.open()
        await commands.wait_idle()
    assert sent.endings["refused"] == []
    assert commands.statistics()["load"].refused == 1


async def test_senders_wait_for_room_in_order(sent: Sent) -> None:
    """`send` waits; the first to wait is the first to get room."""
    commands = Commands(KINDS, capacity=1, concurrent=1)
    async with looping(commands):
        for label in "ab":
            await commands.send(sent.command(label))
            await wait_all_tasks_blocked()
        async with trio.open_nursery() as senders:
            for label in "cdef":
                senders.start_soon(commands.send, sent.command(label))
                await wait_all_tasks_blocked()
            for label in "abcdef":
                sent.open(label)
                await wait_all_tasks_blocked()
    assert sent.begun == list("abcdef")


async def test_a_sender_that_is_cancelled_has_sent_nothing(sent: Sent) -> None:
    """Whether it waits for room or behind one who does; those who wait on get their room."""
    commands = Commands(KINDS, capacity=1, concurrent=1)
    async with looping(commands):
        for label in "ab":
            await commands.send(sent.command(label))
            await wait_all_tasks_blocked()
        async with trio.open_nursery() as senders:
            scopes = [trio.CancelScope() for _ in range(3)]

            async def send(scope: trio.CancelScope, label: str) -> None:
                with scope:
                    await commands.send(sent.command(label))

            for scope, label in zip(scopes, "cde", strict=True):
                senders.start_soon(send, scope, label)
                await wait_all_tasks_blocked()
            scopes[0].cancel()
            scopes[1].cancel()
            await wait_all_tasks_blocked()
            sent.open("a", "b", "e")
        await commands.wait_idle()
    assert sent.begun == ["a", "b", "e"]
    assert commands.statistics()["load"].sent == 3


@pytest.mark.parametrize(
    "unexpected", [ValueError("a defect"), ExceptionGroup("two", [OSError(), OSError()])]
)
async def test_an_unexpected_error_is_logged_and_reported(
    sent: Sent, caplog: pytest.LogCaptureFixture, unexpected: Exception
) -> None:
    """The log has its traceback, the sender gets it, the loop goes on."""

    async def break_down() -> None:
        raise unexpected

    commands = Commands(KINDS)
    async with looping(commands):
        commands.send_nowait(sent.command("bad", work=break_down))
        await commands.wait_idle()
        commands.send_nowait(sent.command("good"))
        sent.open()
        await commands.wait_idle()
    assert sent.ending("bad") is unexpected
    assert sent.ending("good") == Done("good")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_an_error_of_ours_is_reported_and_no_defect(
    sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    """What blobfs raises on purpose goes to the sender, not into the log."""
    refused = errors.NameExists("taken")

    async def refuse() -> None:
        raise refused

    commands = Commands(KINDS)
    async with looping(commands):
        commands.send_nowait(sent.command("a", work=refuse))
        await commands.wait_idle()
    assert sent.ending("a") is refused
    assert caplog.records == []


async def test_a_report_that_raises_ends_nothing(sent: Sent, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the other commands go on."""

    def raise_it(ending: Ending) -> None:
        raise RuntimeError("the reporter is broken")

    commands = Commands(KINDS)
    async with looping(commands):
        bad = sent.command("a")
        commands.send_nowait(Command(bad.kind, bad.work, raise_it))
        commands.send_nowait(sent.command("b"))
        sent.open()
        await commands.wait_idle()
    assert sent.ending("b") == Done("b")
    assert "the reporter is broken" in caplog.text


async def test_cancelling_before_its_turn_while_it_runs_and_after(sent: Sent) -> None:
    """Each ends once: what waits is never started, what runs ends at its next await, what is done is done."""
    commands = Commands(KINDS, concurrent=1)
    running, waiting, last = (sent.command(label) for label in "abc")
    async with looping(commands):
        for command in running, waiting, last:
            commands.send_nowait(command)
        await wait_all_tasks_blocked()
        commands.cancel(waiting)
        assert isinstance(sent.ending("b"), errors.CommandCancelled)
        commands.cancel(running)
        commands.cancel(running)
        sent.open("c")
        await commands.wait_idle()
        for command in running, waiting, last:
            commands.cancel(command)
    assert isinstance(sent.ending("a"), errors.CommandCancelled)
    assert isinstance(sent.ending("b"), errors.CommandCancelled)
    assert sent.ending("c") == Done("c")
    assert sent.begun == ["a", "c"]


async def test_a_command_that_is_done_before_the_cancel_reaches_it_is_done(sent: Sent) -> None:
    """What has come of the work is never thrown away."""
    commands = Commands(KINDS)
    command = sent.command("a")
    async with looping(commands):
        commands.send_nowait(command)
        await wait_all_tasks_blocked()
        sent.open()
        commands.cancel(command)
        await commands.wait_idle()
    assert sent.ending("a") == Done("a")


async def test_a_turn_that_does_not_come_in_time(sent: Sent, mock_clock: MockClock) -> None:
    """A deadline that passes in the line ends the command there; it is never started."""
    commands = Commands(KINDS, concurrent=1)
    async with looping(commands):
        for command in (
            sent.command("running", deadline=5),
            sent.command("late", deadline=10),
            sent.command("later", deadline=20),
        ):
            commands.send_nowait(command)
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        await wait_all_tasks_blocked()
        assert isinstance(sent.ending("late"), errors.DeadlineExceeded)
        assert sent.endings["running"] == sent.endings["later"] == []
        sent.open()
        await commands.wait_idle()
    assert sent.ending("running") == Done("running")
    assert sent.ending("later") == Done("later")
    assert sent.begun == ["running", "later"]


async def test_the_end_of_the_loop_is_reported_to_all(sent: Sent) -> None:
    """Running or waiting, each gets ServiceEnded once; afterwards nothing is accepted."""
    commands = Commands(KINDS, concurrent=2)
    async with looping(commands):
        for label in "abcd":
            commands.send_nowait(sent.command(label))
        commands.send_nowait(sent.command("s", "share"))
        await wait_all_tasks_blocked()
    for label in "abcds":
        assert isinstance(sent.ending(label), errors.ServiceEnded)
    with pytest.raises(errors.ServiceEnded):
        commands.send_nowait(sent.command("e"))
    with pytest.raises(errors.ServiceEnded):
        await commands.send(sent.command("f"))
    await commands.wait_idle()
    assert sent.endings["e"] == sent.endings["f"] == []


async def test_what_was_sent_just_before_the_end_is_reported(sent: Sent) -> None:
    """A command that the loop has not even seen, and one whose task has not begun."""
    commands = Commands(KINDS)
    async with looping(commands) as scope:
        commands.send_nowait(sent.command("a"))
        scope.cancel()
    assert isinstance(sent.ending("a"), errors.ServiceEnded)


async def test_closing_lets_what_was_accepted_go_on(sent: Sent) -> None:
    """New commands are refused, also those that wait for room; the accepted ones end as they will."""
    commands = Commands(KINDS, capacity=1, concurrent=1)
    refusals: list[str] = []

    async def send(label: str) -> None:
        try:
            await commands.send(sent.command(label))
        except errors.ServiceEnded:
            refusals.append(label)

    async with looping(commands):
        for label in "ab":
            await commands.send(sent.command(label))
            await wait_all_tasks_blocked()
        async with trio.open_nursery() as senders:
            senders.start_soon(send, "c")
            senders.start_soon(send, "d")
            await wait_all_tasks_blocked()
            commands.close()
        sent.open()
        await commands.wait_idle()
    assert sorted(refusals) == ["c", "d"]
    assert [sent.ending(label) for label in "ab"] == [Done("a"), Done("b")]


async def test_everything_is_measured(sent: Sent, mock_clock: MockClock) -> None:
    """Counts, depths and times by kind, in the seconds of trio's clock."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise errors.NameMissing("nothing")

    commands = Commands(KINDS, concurrent=1)
    async with looping(commands):
        cancelled = sent.command("c")
        for command in sent.command("a"), sent.command("b", work=fail), cancelled:
            commands.send_nowait(command)
        await wait_all_tasks_blocked()
        assert commands.statistics()["load"].running == 1
        assert commands.statistics()["load"].waiting == 2
        mock_clock.jump(0.5)
        commands.cancel(cancelled)
        mock_clock.jump(1.5)
        sent.open("a")
        await commands.wait_idle()
        load, share = (commands.statistics()[kind] for kind in ("load", "share"))
    assert (load.sent, load.done, load.failed, load.cancelled) == (3, 1, 1, 1)
    assert (load.waiting, load.most_waiting, load.running) == (0, 3, 0)
    assert (load.waited.count, load.waited.total, load.waited.longest) == (3, 2.5, 2)
    assert load.waited.boxes == (1, 0, 0, 1, 1, 0, 0)
    assert (load.worked.count, load.worked.total, load.worked.boxes) == (2, 2, (1, 0, 0, 0, 1, 0, 0))
    assert share.sent == share.waited.count == 0
