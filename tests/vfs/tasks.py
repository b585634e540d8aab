"""A directory that looks like /proc, with the tasks that a test puts there."""

from pathlib import Path

from blobfs.vfs.signals import Task


def status_text(task: Task, name: str = "cat") -> bytes:
    """As the kernel writes it, with some of the lines that nobody reads."""
    masks = {
        "SigPnd": task.pending,
        "ShdPnd": task.shared,
        "SigBlk": task.blocked,
        "SigIgn": task.ignored,
        "SigCgt": task.caught,
    }
    lines = [
        f"Name:\t{name}",
        "Umask:\t0022",
        f"State:\t{task.state} (whatever)",
        f"Tgid:\t{task.tgid}",
        "Ngid:\t0",
        f"Pid:\t{task.pid}",
        "PPid:\t1",
        f"Threads:\t{task.threads}",
        "SigQ:\t0/96365",
        *(f"{key}:\t{mask:016x}" for key, mask in masks.items()),
        "CapInh:\t0000000000000000",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


class Proc:
    """Threads under /proc; each is found by its own pid too, as in the real one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, task: Task, syscall: str = "0 0x3 0x7f 0x1000 0x0 0x0 0x0 0x7ffe 0x7f") -> None:
        """`syscall` begins with -1 in a page fault."""
        for directory in (f"{task.pid}", f"{task.tgid}/task/{task.pid}"):
            path = self.root / directory
            path.mkdir(parents=True, exist_ok=True)
            (path / "status").write_bytes(status_text(task))
            (path / "syscall").write_text(syscall)
