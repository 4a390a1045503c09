"""TLS certificates and settings."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from asr_llm.errors import ServerError


@dataclass(frozen=True)
class Tls:
    """TLS settings: uvicorn's options ``--ssl-*``.

    Args:
        certfile: the server's certificate chain, PEM.
        keyfile: its private key, PEM, if not in ``certfile``.
        keyfile_password: of the key, if any.
        ca_certs: CA certificates to verify client certificates.
        cert_reqs: client certificates: 0 none, 1 optional, 2 required.
        ciphers: in OpenSSL's notation; None: OpenSSL's default.
    """

    certfile: Path
    keyfile: Path | None = None
    keyfile_password: str | None = None
    ca_certs: Path | None = None
    cert_reqs: int = ssl.CERT_NONE
    ciphers: str | None = None

    def check(self) -> None:
        """Check the settings before serving.

        Raises:
            ServerError: a file cannot be read, or is invalid.
        """
        for file in filter(None, (self.certfile, self.keyfile, self.ca_certs)):
            try:
                file.read_bytes()
            except OSError as error:
                raise ServerError(
                    f"{file}: cannot be read ({error.strerror}); expected a file in PEM"
                ) from error
        if self.cert_reqs and self.ca_certs is None:
            raise ServerError(
                f"--ssl-cert-reqs {self.cert_reqs} checks the certificates of clients; expected "
                "those that have signed them: give --ssl-ca-certs"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        what = f"{self.certfile}: no certificate with its key"
        try:
            # Without a password OpenSSL would prompt for one on the terminal.
            context.load_cert_chain(
                self.certfile, self.keyfile, lambda: self.keyfile_password or ""
            )
            if self.ciphers is not None:
                what = f"--ssl-ciphers is {self.ciphers!r}, which OpenSSL does not know"
                context.set_ciphers(self.ciphers)
            if self.ca_certs is not None:
                what = f"{self.ca_certs}: no certificates"
                context.load_verify_locations(self.ca_certs)
        except ssl.SSLError as error:
            reason = (
                (getattr(error, "reason", None) or "not what it should be")
                .replace("_", " ")
                .lower()
            )
            raise ServerError(
                f"{what} ({reason}); expected certificates and key in PEM, the key in the same "
                "file or with --ssl-keyfile, its password with --ssl-keyfile-password"
            ) from error
