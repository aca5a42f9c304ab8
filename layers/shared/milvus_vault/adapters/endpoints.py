"""Where Milvus answers: by gRPC, by REST, and for management, each at an address of its own or at a common one."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from milvus_vault.errors import SettingsError

MILVUS_PORT = 19530
MANAGEMENT_PORT = 9091
_TLS_PORT = 443


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address."""

    setting: str
    """The parameter that names it."""
    host: str
    port: int
    is_tls: bool

    @classmethod
    def parse(cls, uri: str, setting: str = "MilvusUri", *, port: int = MILVUS_PORT) -> Self:
        """Read `http://host:port` or `https://host:port`; without a port it is the one given, or 443 with TLS.

        Raises `SettingsError` for another form, without quoting it: somebody may have put a password there.
        """
        try:
            parts = urlsplit(uri)
            found = parts.port
            # What name servers are asked for: `a..b` would fail there, and by no name.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise _malformed(setting) from None
        is_bare = parts.path in {"", "/"} and not (parts.query or parts.fragment or parts.username is not None)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_bare:
            raise _malformed(setting)
        is_tls = parts.scheme == "https"
        return cls(setting, parts.hostname, found or (_TLS_PORT if is_tls else port), is_tls)

    @property
    def address(self) -> str:
        """Return host and port, as gRPC takes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """Return the address with its scheme, without a slash at the end."""
        return f"{'https' if self.is_tls else 'http'}://{self.address}"

    def __str__(self) -> str:
        """Return how messages name it."""
        return f"Milvus at {self.uri} ({self.setting})"


def rest_endpoint(uri: str, rest_uri: str) -> Endpoint:
    """Return where Milvus answers REST: at an address of its own, or at that of gRPC, as it does without TLS."""
    return Endpoint.parse(rest_uri, "MilvusRestUri") if rest_uri else Endpoint.parse(uri)


def _malformed(setting: str) -> SettingsError:
    msg = f"{setting} is not of the form http://host:port or https://host:port"
    return SettingsError(msg, hint=f"Deploy the stack again with a correct {setting}.")
