"""An authority for tests, and what it certifies, as the PEM files that programs are set up with."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Its own certificate is at `file`; all files are in `directory`, the keys for their owner alone."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._ca = trustme.CA(organization_name=name)
        self._directory = directory
        self._name = name
        self.file = directory / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def certify(
        self,
        host: str = "127.0.0.1",
        file_name: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Identity:
        """A certificate for `host`, at ``FILE_NAME.pem`` and ``FILE_NAME.key``, replacing what is there."""
        stem = file_name or f"{self._name}-{host}"
        made = self._ca.issue_cert(host, not_before=not_before, not_after=not_after)
        found = Identity(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        found.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        found.key.touch(0o600)
        found.key.write_bytes(made.private_key_pem.bytes())
        return found
