"""The nodes under test: started once, used by all examples, each in a directory of its own."""

from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.model.worker import Hung, Worker
from tests.mount.node import BlobfsNode
from tests.mount.probes import blobfs

OPTIONS = (
    "fill=never",
    "negative_ttl=0.02",
    "listing_ttl=0.02",
    "directory_ttl=0.02",
    "lookup_timeout=2",
    "read_timeout=4",
    "first_byte_timeout=2",
    "connect_timeout=1",
    "max_tries=2",
    "retry_timeout=0.05",
)
"""What is done elsewhere is to be seen soon, and nothing waits long: the tests wait for all of it."""
EXAMPLES_PER_LIFE = 200
"""Then the nodes are made anew: logs and stores grow, and the log is read after each example."""


class Nodes:
    """`names` are the nodes, ``"a"`` or ``"ab"``; two are each other's shares."""

    def __init__(self, directory: Path, names: str) -> None:
        self.names = names
        self._directory = directory
        self._lives = 0
        self._examples = 0
        self._stack = ExitStack()
        self._nodes: dict[str, BlobfsNode] = {}
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_life()

    def _start_life(self) -> None:
        self._lives += 1
        directory = self._directory / str(self._lives)
        directory.mkdir()
        made = {who: BlobfsNode(directory, who, listen=True, options=OPTIONS) for who in self.names}
        for who, node in made.items():
            node.arguments += [f"--share={other.url}" for name, other in made.items() if name != who]
            self._expect(node)
        for who, node in made.items():
            self._nodes[who] = self._stack.enter_context(node)
            self._workers[who] = Worker(node.mountpoint)
        self._examples = 0

    @staticmethod
    def _expect(node: BlobfsNode) -> None:
        """Trouble in the log that is no trouble here: a node is down at times, or removes what is read."""
        for text in (
            "no share that may have it can be reached",
            "no share has it",
            "could not be looked up",
            "is down",
            "not here after",
            "was not ended well",
        ):
            node.expect_log(text, perhaps=True)

    def _end_life(self) -> None:
        for worker in self._workers.values():
            with suppress(Hung):
                worker.kill()
        stack, self._stack = self._stack, ExitStack()
        self._nodes, self._workers = {}, {}
        stack.close()

    def begin(self, prefix: str) -> None:
        """A directory for one example, on every node."""
        if not self._nodes or self._examples >= EXAMPLES_PER_LIFE:
            self._end_life()
            self._start_life()
        self._examples += 1
        for node in self._nodes.values():
            node.prolong()
        first = self.names[0]
        self.call(first, "mkdir", prefix)

    def end(self) -> None:
        """Nothing stays open, every node runs, and none of them has complained."""
        try:
            for who, worker in self._workers.items():
                worker.kill()
                if self._nodes[who].process is None:
                    self._nodes[who].start()
                self._nodes[who].check_log()
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """After a failure that leaves a node in doubt: the next example gets new ones."""
        with suppress(Exception):
            self._end_life()

    def call(self, who: str, verb: str, *arguments: object) -> object:
        return self._workers[who].call(verb, *arguments)

    def restart(self, who: str) -> None:
        """The node ends before the programs that use it: to close their files is not theirs any more."""
        self.stop(who)
        self.start(who)

    def stop(self, who: str) -> None:
        self._nodes[who].stop()
        self._workers[who].kill()

    def start(self, who: str) -> None:
        self._nodes[who].start()

    def evict(self, who: str, name: str) -> None:
        """Drops what was loaded of a name, or below it; that there is nothing is no failure."""
        done = blobfs("evict", self._nodes[who].mountpoint, name)
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr, done.stderr

    def kill9(self, who: str) -> None:
        self._nodes[who].kill9()
        self._workers[who].kill()
        self._nodes[who].start()
