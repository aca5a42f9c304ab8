"""The secret of a deployment, from Secrets Manager: Milvus' credentials and certificates."""

import json
import re
import ssl
from typing import Annotated, Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from milvus_vault.adapters.aws_errors import BROKEN_BODY, GARBLED
from milvus_vault.adapters.kept import kept
from milvus_vault.adapters.milvus_access import NOBODY, ClientTls, MilvusAccess
from milvus_vault.errors import MilvusSecretError

_HINT = "Correct it as docs/operations.md shows. No deployment is needed: it is read for each task."

_LONGEST = 4096
"""gRPC sends no more than 16 KiB of headers, of which Base64 makes a third; Milvus takes passwords of 72 bytes."""


def _check_host(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]*", name):
        msg = "it is the name of a host alone: letters, digits, dots, dashes and underscores"
        raise ValueError(msg)
    return name


class MilvusSecret(BaseModel):
    """The secret's keys; each may be missing. Neither its text nor its errors quote a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    username: str = ""
    password: str = Field(default="", repr=False)
    token: str = Field(default="", repr=False)
    ca_pem: str = Field(default="", repr=False)
    client_certificate_pem: str = Field(default="", repr=False)
    client_key_pem: str = Field(default="", repr=False)
    tls_server_name: Annotated[str, AfterValidator(_check_host)] = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.token and (self.username or self.password):
            msg = "'token' and 'username' with 'password' exclude each other"
            raise ValueError(msg)
        for one, other in (("username", "password"), ("client_certificate_pem", "client_key_pem")):
            if bool(getattr(self, one)) != bool(getattr(self, other)):
                given, missing = (one, other) if getattr(self, one) else (other, one)
                msg = f"'{given}' is there without '{missing}'"
                raise ValueError(msg)
        for name in ("username", "password", "token"):
            if len(str(getattr(self, name)).encode()) > _LONGEST:
                msg = f"'{name}' is longer than {_LONGEST} bytes"
                raise ValueError(msg)
            # They become a line of HTTP; a line feed at the end is a file's that was pasted.
            if not str(getattr(self, name)).isprintable():
                msg = f"'{name}' has a line feed or another character that cannot be printed"
                raise ValueError(msg)
        self._check_certificates()
        return self

    def _check_certificates(self) -> None:
        for name in ("ca_pem", "client_certificate_pem"):
            pem = str(getattr(self, name))
            try:
                if pem:
                    ClientTls(ca_pem=pem).context()
            except (ssl.SSLError, ValueError):
                msg = f"'{name}' is no certificate in PEM{_why(pem)}"
                raise ValueError(msg) from None
        try:
            self.access().tls.context()
        except (ssl.SSLError, ValueError) as err:
            if isinstance(err, ssl.SSLError) and err.reason == "KEY_VALUES_MISMATCH":
                msg = "'client_key_pem' is not the key of 'client_certificate_pem'"
            else:
                msg = f"'client_key_pem' is no private key in PEM without a passphrase{_why(self.client_key_pem)}"
            raise ValueError(msg) from None

    def access(self) -> MilvusAccess:
        """Return it as connections take it."""
        tls = ClientTls(self.ca_pem, self.client_certificate_pem, self.client_key_pem, self.tls_server_name)
        token = self.token or (f"{self.username}:{self.password}" if self.username else "")
        return MilvusAccess(token, self.username, tls)


def _why(pem: str) -> str:
    """Return what is often wrong with a PEM text."""
    if "-----BEGIN" in pem and "\n" not in pem.strip():
        return ": it has no line breaks"
    return ""


def read_access(secret_arn: str) -> MilvusAccess:
    """Return what a secret says; an empty ARN gives no credentials, and trust in the public authorities.

    Raises `MilvusSecretError`, which never quotes the secret.
    """
    if not secret_arn:
        return NOBODY
    try:
        client = kept(lambda: boto3.session.Session().client("secretsmanager"), "secretsmanager")
        text = client.get_secret_value(SecretId=secret_arn)["SecretString"]
    except (ClientError, BotoCoreError, *BROKEN_BODY, *GARBLED) as err:
        msg = f"the secret {secret_arn} cannot be read: {type(err).__name__}"
        raise MilvusSecretError(msg, hint="Check MilvusSecretArn, its KMS key and that it holds text.") from err
    try:
        return MilvusSecret.model_validate_json(text).access()
    except ValidationError as err:
        wrong = "; ".join(_explain(error) for error in err.errors(include_input=False, include_url=False))
    # Outside, so that no cause comes along that holds the content.
    msg = f"the secret {secret_arn} cannot be used: {wrong}"
    raise MilvusSecretError(msg, hint=_HINT)


def _explain(error: ErrorDetails) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"]) if error["type"] == "value_error" else "it is not a JSON object"
    key = json.dumps(str(error["loc"][0]))
    if error["type"] == "extra_forbidden":
        return f"the key {key} is not known"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}"
