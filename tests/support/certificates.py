"""Certificates for tests of TLS, made on the spot."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_OTHER_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)
_DAY = datetime.timedelta(days=1)


class Authority:
    """Makes certificates, all signed by one key."""

    def __init__(self, folder: Path, name: str = "authority", *, has_identifiers: bool = True) -> None:
        """Make the authority's own certificate, be it without identifiers of keys, as many have been made by hand."""
        self._has_identifiers = has_identifiers
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._write(f"{name}.pem", self._sign(name, self._key, until=_DAY, is_authority=True))

    @property
    def pem(self) -> str:
        """Its own certificate."""
        return self.certificate.read_text()

    def make(self, name: str, *, host: str = "localhost", until: datetime.timedelta = _DAY) -> tuple[Path, Path]:
        """Return a certificate for a host and its key; it ends so long from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._sign(name, key, host=host, until=until)
        return self._write(f"{name}.pem", certificate), self._write(f"{name}.key", text)

    def _write(self, name: str, content: bytes) -> Path:
        (self._folder / name).write_bytes(content)
        return self._folder / name

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        host: str = "localhost",
        until: datetime.timedelta,
        is_authority: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * _DAY)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        )
        if self._has_identifiers:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(issuer, critical=False).add_extension(subject, critical=False)
        if is_authority:
            uses = dict.fromkeys(_OTHER_USES, False) | {"key_cert_sign": True, "crl_sign": True}
            builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
