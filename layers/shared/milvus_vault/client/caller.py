"""Who calls the API: a Region, and the credentials that sign."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from milvus_vault.client.local_state import LOCAL_ACCESS_KEY, LOCAL_REGION, LOCAL_SECRET_KEY
from milvus_vault.errors import ApiAccessDeniedError

if TYPE_CHECKING:
    import boto3

# No files and no profile: a variable of a session has a key in the files, one in the environment, and a default.
_NO_CONFIGURATION = dict.fromkeys(("profile", "config_file", "credentials_file"), (None, None, None, None))

# With one of them credentials are to be looked for elsewhere, or renewed, as botocore does.
_NOT_BY_ITSELF = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs a request."""

    access_key: str
    secret_key: str
    token: str | None = None


class Caller:
    """Who calls.

    Its session of boto3 is made where one is needed: to import that takes a quarter of a short command's time, and
    what the environment has needs none to sign.
    """

    def __init__(
        self,
        make_session: "Callable[[], boto3.Session]",
        credentials: Credentials | None = None,
        region: str = "",
    ) -> None:
        """Take what is known without the session: its credentials and its Region, if they are."""
        self._make_session = make_session
        self._credentials = credentials
        self._region = region

    @cached_property
    def session(self) -> "boto3.Session":
        """The session. Raises ApiAccessDeniedError where the AWS configuration does not have what it is to."""
        return self._make_session()

    @property
    def region(self) -> str:
        """The Region, or nothing where none is configured; raises as `session` does."""
        return self._region or self.session.region_name or ""

    def credentials(self) -> Credentials:
        """Return what signs now. Raises ApiAccessDeniedError where there is nothing, and as `session` does."""
        if self._credentials is not None:
            return self._credentials
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

        try:
            found = self.session.get_credentials()
            # They may be renewed between one and the next of them.
            frozen = found.get_frozen_credentials() if found else None
        except (BotoCoreError, ClientError) as err:
            raise _unsigned(str(err)) from err
        except RuntimeError as err:
            # So botocore says that what it was given as new has run out as well.
            raise _unsigned(str(err).removeprefix("Credentials were refreshed, but ")) from err
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            msg = "there are none"
            raise _unsigned(msg)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def configured_caller(region: str, profile: str) -> Caller:
    """Return who calls by the AWS configuration: credentials of the environment go before all but a profile.

    Args:
        region: default: AWS_REGION, AWS_DEFAULT_REGION or that of the profile.
        profile: default: AWS_PROFILE, or none.

    Raises:
        ApiAccessDeniedError: there is no such profile, or a file that has to be looked at cannot be read.
    """
    region = region or os.environ.get("AWS_REGION", "")
    known = None if profile else _credentials_of_environment()
    caller = Caller(lambda: _session(region, profile), known, region or os.environ.get("AWS_DEFAULT_REGION", ""))
    if known is None:
        # So that what is wrong with it is told at once.
        _ = caller.session
    return caller


def local_caller() -> Caller:
    """Return who calls a local stack, with the credentials that it takes, whatever the AWS configuration is."""
    return Caller(_local_session, Credentials(LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY), LOCAL_REGION)


def _unsigned(reason: str) -> ApiAccessDeniedError:
    return ApiAccessDeniedError(
        f"cannot sign requests to the API with AWS credentials: {reason}",
        hint="Sign in, for example with 'aws sso login', or choose another `profile`, also by AWS_PROFILE.",
    )


def _credentials_of_environment() -> Credentials | None:
    found = os.environ
    access_key, secret_key = found.get("AWS_ACCESS_KEY_ID"), found.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or any(name in found for name in _NOT_BY_ITSELF):
        return None
    return Credentials(
        access_key, secret_key, found.get("AWS_SECURITY_TOKEN") or found.get("AWS_SESSION_TOKEN") or None
    )


def _local_session() -> "boto3.Session":
    import boto3  # noqa: PLC0415 - see Caller
    import botocore.session  # noqa: PLC0415

    return boto3.Session(
        aws_access_key_id=LOCAL_ACCESS_KEY,
        aws_secret_access_key=LOCAL_SECRET_KEY,
        region_name=LOCAL_REGION,
        botocore_session=botocore.session.Session(session_vars=_NO_CONFIGURATION),
    )


def _session(region: str, profile: str) -> "boto3.Session":
    import boto3  # noqa: PLC0415 - see Caller
    import botocore.session  # noqa: PLC0415
    from botocore.exceptions import ConfigParseError, ProfileNotFound  # noqa: PLC0415

    core = botocore.session.Session(profile=profile or None)
    try:
        # Which else each client would look at, and fail by.
        core.get_scoped_config()
    except ProfileNotFound as err:
        msg = f"there is no AWS profile '{core.get_config_variable('profile')}'"
        raise ApiAccessDeniedError(msg, hint="'aws configure list-profiles' lists them.") from err
    except ConfigParseError as err:
        msg = f"the AWS configuration cannot be read: {err}"
        raise ApiAccessDeniedError(msg, hint="Mend the file: AWS' own programs cannot read it either.") from err
    return boto3.Session(region_name=region or None, botocore_session=core)
