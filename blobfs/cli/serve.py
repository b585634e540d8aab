"""``blobfs serve``: the share server alone, for a store that is mounted without ``--listen`` or not at all.

It only reads the share directory, so it needs no lock and may run beside a mount of the same store.
"""

import logging
import socket
from dataclasses import dataclass
from pathlib import Path

import click
import trio

from blobfs.config.settings import ServeSettings
from blobfs.daemon.readiness import notify
from blobfs.errors import StartRefused
from blobfs.model import Invalid
from blobfs.shares.admission import Admission
from blobfs.shares.listening import bind_share_listener, shown_address
from blobfs.shares.server import serve_share_until_signalled


@click.command()
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="The store whose share is served."
)
@click.option("--listen", metavar="ADDRESS", required=True,
              help="HOST:PORT, where port 0 is a free one, unix:PATH, or systemd for the socket it "
                   "passes.")  # fmt: skip
@click.option("--certificate", type=click.Path(path_type=Path), help="PEM, with its chain: serve over TLS.")
@click.option("--key", type=click.Path(path_type=Path), help="PEM, unless it is with the certificate.")
@click.option("--client-ca", type=click.Path(path_type=Path),
              help="PEM: answer only clients with a certificate of these authorities.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path),
              help="Answer only requests with the bearer token that is in this file.")  # fmt: skip
def serve(store: Path, listen: str, **files: Path | None) -> None:
    """Serve a store's share over HTTP, in the foreground, until SIGTERM or Ctrl-C.

    SIGHUP has the certificate and the token read again. A FILE may be credential:NAME, of systemd.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    served = _open(store, ServeSettings(listen=listen, **files))
    trio.run(serve_share_until_signalled, served.share, served.listener, served.admission, served.say_ready)


@dataclass(frozen=True, slots=True)
class _Served:
    share: Path
    listener: socket.socket
    admission: Admission

    def say_ready(self) -> None:
        address = shown_address(self.listener)
        scheme = "http" if self.admission.terms.tls is None else "https"
        click.echo(f"serving {self.share} on {address if ':/' in address else f'{scheme}://{address}/'}")
        notify("READY=1", f"STATUS=serving {self.share} on {address}")


def _open(store: Path, settings: ServeSettings) -> _Served:
    share = store / "share"
    if not share.is_dir():
        raise click.ClickException(f"there is no share to serve at {share}")
    assert settings.listen is not None
    try:
        admission = Admission(settings)
        return _Served(share, bind_share_listener(settings.listen), admission)
    except Invalid as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    except StartRefused as error:
        raise click.ClickException(str(error)) from error
