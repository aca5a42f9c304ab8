"""Milvus' credentials, from Secrets Manager."""

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ValidationError

from milvus_vault.adapters.kept import kept
from milvus_vault.errors import SettingsError


class MilvusCredentials(BaseModel):
    """User and password; both empty where Milvus asks for none."""

    username: str
    password: str


def read_credentials(secret_arn: str) -> MilvusCredentials:
    """Return the credentials in a secret `{"username": ..., "password": ...}`.

    An empty ARN gives empty credentials. Raises `SettingsError`, which never quotes the secret.
    """
    if not secret_arn:
        return MilvusCredentials(username="", password="")
    try:
        client = kept(lambda: boto3.session.Session().client("secretsmanager"), "secretsmanager")
        text = client.get_secret_value(SecretId=secret_arn)["SecretString"]
    except (ClientError, BotoCoreError, KeyError) as err:
        msg = f"the secret {secret_arn} cannot be read: {type(err).__name__}"
        raise SettingsError(msg, hint="Check MilvusSecretArn, its KMS key and that it holds text.") from err
    try:
        return MilvusCredentials.model_validate_json(text)
    except ValidationError:
        msg = f"the secret {secret_arn} is not a JSON object with 'username' and 'password'"
        # Without its cause, which would quote the content.
        raise SettingsError(msg, hint="Store the secret as key/value pairs with these two keys.") from None
