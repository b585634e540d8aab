"""``python -m tools.manual DIR``: a page for every command that people call; `tools/man` names the Python."""

import sys
from pathlib import Path

from tools.manual.pages import write_pages


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: tools/man DIR", file=sys.stderr)
        return 2
    for path in write_pages(Path(sys.argv[1])):
        print(path)
    return 0


sys.exit(main())
