"""Who we are for Milvus, and whom we trust: what its secret says, in the form that connections take."""

import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Our side of TLS."""

    ca_pem: str = ""
    """Certificates of the authorities that we trust; empty: the public ones."""
    certificate_pem: str = ""
    """Our certificate, where Milvus asks for one, with those between it and its authority."""
    key_pem: str = field(default="", repr=False)
    server_name: str = ""
    """The name that Milvus' certificate must have; empty: the host's."""

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Return the context for connections by these protocols of ALPN.

        Raises `ssl.SSLError` or `ValueError` for a certificate or a key that cannot be used.
        """
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        # gRPC does not ask for it either: it refuses authorities without an identifier of their key, as many are.
        context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
        context.set_alpn_protocols(protocols)
        if self.certificate_pem:
            self._load_certificate(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        """Give the context our certificate. It reads files only: one of ours, which is gone at once."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "client.pem")
            path.touch(mode=0o600)
            path.write_text(f"{self.key_pem}\n{self.certificate_pem}\n")
            # Without a passphrase of ours, it would ask the terminal for that of an encrypted key.
            context.load_cert_chain(path, password="")


@dataclass(frozen=True, slots=True)
class MilvusAccess:
    """What a connection to Milvus needs beside its address."""

    token: str = field(default="", repr=False)
    """`user:password`, or an API key; empty: Milvus asks for none."""
    username: str = ""
    """The user, if the token is one's."""
    tls: ClientTls = field(default_factory=ClientTls)
    """For endpoints that begin with `https://`."""


NOBODY = MilvusAccess()
"""No credentials, and trust in the public authorities."""
