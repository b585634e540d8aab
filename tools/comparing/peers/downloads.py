"""Programs that download a whole file and are done: curl, curl and sha256sum, aria2c."""

from pathlib import Path
from typing import Protocol

from tools.benchmarks.running import run, version_of
from tools.comparing.peers.peer import Named
from tools.comparing.reading import SECONDS


class Download(Named, Protocol):
    def download(self, url: str, target: Path) -> float:
        """Seconds."""


class Curl:
    name = "curl"
    options = "curl -o FILE URL: verifies nothing"

    def version(self) -> str | None:
        said = version_of("curl", "--version")
        return said and said.partition(" (")[0]  # then comes every library that is in it

    def download(self, url: str, target: Path) -> float:
        return run("curl", "-sSf", "-o", target, url, limit=SECONDS).seconds


class CheckedCurl:
    name = "curl + sha256sum"
    options = "curl -o FILE URL && sha256sum FILE"

    def version(self) -> str | None:
        return Curl().version()

    def download(self, url: str, target: Path) -> float:
        return Curl().download(url, target) + run("sha256sum", target, limit=SECONDS).seconds


class Aria2c:
    name = "aria2c"
    options = "aria2c -x 4 -s 4: four connections; verifies nothing"

    def version(self) -> str | None:
        return version_of("aria2c", "--version")

    def download(self, url: str, target: Path) -> float:
        four = ("-x", "4", "-s", "4", "--file-allocation=none", "--no-conf", "-q")
        place = ("-d", target.parent, "-o", target.name, "--allow-overwrite=true")
        return run("aria2c", *four, *place, url, limit=SECONDS).seconds


DOWNLOADS: tuple[Download, ...] = (CheckedCurl(), Curl(), Aria2c())
