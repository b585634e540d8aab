"""``blobfs serve``: the share server alone, for a store that is mounted without ``--listen`` or not at all.

It only reads the share directory, so it needs no lock and may run beside a mount of the same store. Of the
file of a node it takes the store and what is set for serving.
"""

import logging
import socket
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import click
import trio

from blobfs.config.catalogue import DEFAULT_STORE
from blobfs.config.settings import LogLevel, ServeSettings
from blobfs.config.sources import read_sources
from blobfs.daemon.logs import set_up_logging
from blobfs.daemon.readiness import notify
from blobfs.errors import ConfigRefused, StartRefused
from blobfs.shares.admission import Admission
from blobfs.shares.listening import bind_share_listener, shown_address
from blobfs.shares.server import serve_share_until_signalled

_log = logging.getLogger(__name__)

# Each has two names: the short one for people, the one a setting has everywhere for what is said about it.


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The file with the settings of the node.")
@click.option("--store", metavar="DIR", help=f"The store whose share is served  [default: {DEFAULT_STORE}]")
@click.option("--listen", metavar="ADDRESS",
              help="HOST:PORT, where port 0 is a free one, unix:PATH, or systemd for the socket it "
                   "passes.")  # fmt: skip
@click.option("--certificate", "--serve-certificate", "serve_certificate", metavar="FILE",
              help="PEM, with its chain: serve over TLS.")  # fmt: skip
@click.option("--key", "--serve-key", "serve_key", metavar="FILE",
              help="PEM, unless it is with the certificate.")  # fmt: skip
@click.option("--client-ca", "--serve-client-ca", "serve_client_ca", metavar="FILE",
              help="PEM: answer only clients with a certificate of these authorities.")  # fmt: skip
@click.option("--token-file", "--serve-token-file", "serve_token_file", metavar="FILE",
              help="Answer only requests with the bearer token that is in this file.")  # fmt: skip
def serve(config: Path | None, **flags: str | None) -> None:
    """Serve a store's share over HTTP, in the foreground, until SIGTERM or Ctrl-C.

    SIGHUP has the certificate and the token read again. A FILE may be credential:NAME, of systemd.
    """
    try:
        served = _open(config, flags)
    except ConfigRefused as refused:
        raise _WrongSettings(str(refused)) from refused
    except StartRefused as refused:
        raise click.ClickException(str(refused)) from refused
    trio.run(serve_share_until_signalled, served.share, served.listener, served.admission, served.say_ready)


class _WrongSettings(click.ClickException):
    """To start once more would not help."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class _Served:
    share: Path
    listener: socket.socket
    admission: Admission

    def say_ready(self) -> None:
        address = shown_address(self.listener)
        scheme = "http" if self.admission.terms.tls is None else "https"
        where = address if self.listener.family == socket.AF_UNIX else f"{scheme}://{address}/"
        click.echo(f"serving {self.share} on {where}")
        notify("READY=1", f"STATUS=serving {self.share} on {where}")


def _open(config: Path | None, flags: dict[str, str | None]) -> _Served:
    """Raises `StartRefused`, and `ConfigRefused` among them."""
    reading = read_sources(None, config, (), flags)
    set_up_logging(reading.merged.get("log_level", LogLevel.INFO), on_terminal=sys.stderr.isatty())
    for warning in reading.warnings:
        _log.warning("%s", warning)
    merged = reading.merged
    settings = ServeSettings(
        **{field.name: merged.get(f"serve.{field.name}") for field in fields(ServeSettings)}
    )
    if settings.listen is None:
        raise ConfigRefused("nothing says where to listen: give --listen")
    share = Path(merged.get("store", DEFAULT_STORE)) / "share"
    if not share.is_dir():
        raise StartRefused(f"there is no share to serve at {share}")
    admission = Admission(settings)
    return _Served(share, bind_share_listener(settings.listen), admission)
