"""The command blobfs on a disk that fails: ``python -m tests.disk_faults.daemon CONTROL STORE mount …``

The file CONTROL holds ``ENOSPC 17 lasting`` or ``ENOSPC 17 once``, or nothing for a disk that works; it may
be replaced at any time, and counts from then on. CONTROL.hits gets a line for each operation that is refused.
"""

import os
import sys
from pathlib import Path
from typing import Any

from blobfs.cli.main import main
from tests.disk_faults.injection import Injection
from tests.disk_faults.plan import Fault, Plan

_stat = os.stat
_open = open


class ControlledInjection(Injection):
    """Mutable: `_seen`, which version of the control file the plan is of."""

    def __init__(self, root: Path, control: Path) -> None:
        super().__init__(root)
        self._control = control
        self._seen = (0, 0)

    def check(self, call: str, place: Any, changes: bool) -> bool:
        self._look()
        hits = self.hits
        try:
            return super().check(call, place, changes)
        finally:
            if self.hits > hits:
                with _open(f"{self._control}.hits", "a") as file:
                    file.write(f"{call} {place}\n")

    def _look(self) -> None:
        found = _stat(self._control)
        version = found.st_ino, found.st_mtime_ns
        if version != self._seen:
            self._seen = version
            with _open(self._control) as file:
                self.set_plan(parse_plan(file.read()))


def parse_plan(text: str) -> Plan | None:
    words = text.split()
    return Plan(Fault[words[0]], int(words[1]), words[2] == "lasting") if words else None


def show_plan(plan: Plan | None) -> str:
    return f"{plan.fault.name} {plan.at} {'lasting' if plan.lasting else 'once'}\n" if plan else ""


if __name__ == "__main__":
    control, store = Path(sys.argv[1]), Path(sys.argv[2])
    with ControlledInjection(store, control):
        main(sys.argv[3:], prog_name="blobfs")
