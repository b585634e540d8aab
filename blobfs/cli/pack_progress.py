"""How far packing is: what its bars show (`bars`). Any thread counts."""

import threading

from blobfs.cli.words import count, size


class Progress:
    """What is done so far of one stage. Mutable: the two numbers, by any thread."""

    def __init__(self, files: int, content: int) -> None:
        self.files, self.content = files, content
        """What there is to do: files, and bytes in all."""
        self.files_done = self.bytes_done = 0
        self._turn = threading.Lock()

    @property
    def length(self) -> int:
        """Steps of the bar: bytes, and one for each file, because it may be empty."""
        return self.files + self.content

    @property
    def position(self) -> int:
        return min(self.files_done + self.bytes_done, self.length)

    @property
    def moved(self) -> int:
        return self.bytes_done

    def add(self, content: int, files: int = 0) -> None:
        with self._turn:
            self.bytes_done += content
            self.files_done += files

    def files_text(self) -> str:
        return f"{self.files_done} of {count(self.files, 'file')}"

    def bytes_text(self) -> str:
        return f"{size(min(self.bytes_done, self.content))} of {size(self.content)}"
