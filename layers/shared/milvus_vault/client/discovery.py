"""Where the API is, and who calls it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from milvus_vault.client.caller import Caller, configured_caller, local_caller
from milvus_vault.client.local_state import is_starting, running_stack
from milvus_vault.client.vault import VaultClient
from milvus_vault.errors import ApiAccessDeniedError, ApiNotFoundError, ApiUnavailableError, InvalidRequestError

if TYPE_CHECKING:
    import boto3
    from botocore.exceptions import BotoCoreError

URL_VARIABLE = "MILVUS_VAULT_URL"
STACK_VARIABLE = "MILVUS_VAULT_STACK"
DEPLOYMENT_VARIABLE = "MILVUS_VAULT_DEPLOYMENT"
OUTPUT_KEY = "ApiUrl"


@dataclass(frozen=True, slots=True)
class Door:
    """An API, and who calls it."""

    url: str
    caller: Caller
    found_by: Literal["url", "stack", "local"]
    stack: str = ""
    """The CloudFormation stack; empty where an address was given."""
    aws_url: str = ""
    """Endpoint of the emulated AWS of a local stack; empty: AWS itself."""


def connect(
    *,
    url: str = "",
    stack: str = "",
    deployment: str = "",
    region: str = "",
    profile: str = "",
    on_repetition: Callable[[str], None] = lambda _: None,
) -> VaultClient:
    """Return a client of the API that `find_door` finds; raises as that does. See `VaultClient` for `on_repetition`."""
    door = find_door(url=url, stack=stack, deployment=deployment, region=region, profile=profile)
    return VaultClient(door.url, door.caller, on_repetition=on_repetition)


def find_door(
    *,
    url: str = "",
    stack: str = "",
    deployment: str = "",
    region: str = "",
    profile: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Door:
    """Return the API that is meant: what is given, else what the environment names, else the running local stack.

    Args:
        url: address of the API.
        stack: CloudFormation stack whose output `ApiUrl` is the address.
        deployment: what `milvus-vault config` has under that name. At most one of these three is given.
        region: Region of the stack; default: that of the deployment, of the environment or of the profile.
        profile: profile of the AWS configuration; default: that of the deployment.
        environment: has `MILVUS_VAULT_URL`, `MILVUS_VAULT_STACK` or `MILVUS_VAULT_DEPLOYMENT`, of which the first one
            counts, where nothing is given.

    Raises:
        InvalidRequestError: more than one of url, stack and deployment is given.
        ApiNotFoundError: nothing tells where the API is, there is no such deployment, or the stack does not have one.
        ApiAccessDeniedError: CloudFormation may not be asked, there is no such profile, or the AWS configuration
            cannot be read.
        ApiUnavailableError: CloudFormation does not answer.
    """
    given = {"url": url, "stack": stack, "deployment": deployment}
    if len(named := [f"`{name}`" for name, value in given.items() if value]) > 1:
        msg = f"{' and '.join(named)} exclude each other"
        raise InvalidRequestError(msg, hint="Give the one that is meant.")
    if not named:
        variables = {"url": URL_VARIABLE, "stack": STACK_VARIABLE, "deployment": DEPLOYMENT_VARIABLE}
        given = {name: environment.get(variable, "") for name, variable in variables.items()}
    if not given["url"] and not given["stack"] and given["deployment"]:
        from milvus_vault.client.deployments import find_deployment  # noqa: PLC0415 - most do without

        known = find_deployment(given["deployment"])
        given, region, profile = known.model_dump(), region or known.region, profile or known.profile
    if given["url"]:
        return Door(checked_address(given["url"]), configured_caller(region, profile), "url")
    if given["stack"]:
        caller = configured_caller(region, profile)
        return Door(_url_of_stack(given["stack"], caller.session), caller, "stack", given["stack"])
    local = running_stack()
    if local is None:
        if is_starting():
            msg = "nothing tells where the API is: the local stack is being started"
            raise ApiNotFoundError(msg, hint="Wait until it is ready: the first time takes some minutes.")
        msg = "nothing tells where the API is"
        raise ApiNotFoundError(
            msg,
            hint="Start the local stack with 'milvus-vault local up', or name a stack "
            f"(`stack` or {STACK_VARIABLE}), an address (`url` or {URL_VARIABLE}) or a deployment (`deployment` or "
            f"{DEPLOYMENT_VARIABLE}).",
        )
    return local_door(local.api_url, stack=local.stack_name, aws_url=local.aws_url)


def local_door(api_url: str, *, stack: str = "", aws_url: str = "") -> Door:
    """Return the API of a local stack, with the credentials that it takes, whatever the AWS configuration is."""
    return Door(api_url, local_caller(), "local", stack, aws_url)


def checked_address(url: str) -> str:
    """Return the address of an API. Raises `ApiNotFoundError` for what is none."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.split() == [url]
    except ValueError:
        # A bracket without its other, or a port that is none.
        is_one = False
    if not is_one:
        msg = f"'{url}' is no address of an API"
        raise ApiNotFoundError(msg, hint="Give the stack's output ApiUrl: https://...")
    return url


def _url_of_stack(stack: str, session: boto3.Session) -> str:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see Caller

    where = f"stack '{stack}' in {session.region_name}" if session.region_name else f"stack '{stack}'"
    try:
        described = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as err:
        text = err.response.get("Error", {}).get("Message", str(err))
        if "does not exist" in text:
            msg = f"there is no {where}"
            raise ApiNotFoundError(
                msg, hint="See that `stack`, `region` and `profile` are those of its deployment."
            ) from err
        msg = f"CloudFormation does not describe the {where}: {text}"
        raise ApiAccessDeniedError(
            msg,
            hint="Give the API's address (`url`), or sign in as somebody who may describe stacks.",
        ) from err
    except BotoCoreError as err:
        raise _error_of_boto(where, err) from err
    for output in described.get("Outputs", []):
        if output.get("OutputKey") == OUTPUT_KEY:
            return output["OutputValue"]
    if (status := described["StackStatus"]).endswith("_IN_PROGRESS"):
        msg = f"the {where} has no output {OUTPUT_KEY} yet: CloudFormation says {status}"
        raise ApiNotFoundError(msg, hint="Try again when that is done.")
    msg = f"the {where} has no output {OUTPUT_KEY}"
    raise ApiNotFoundError(msg, hint="Deploy this release, or name another stack.")


def _error_of_boto(where: str, err: BotoCoreError) -> ApiAccessDeniedError | ApiNotFoundError | ApiUnavailableError:
    from botocore import exceptions  # noqa: PLC0415 - see Caller

    if isinstance(err, exceptions.NoRegionError):
        return ApiNotFoundError(
            f"cannot look for the {where} without a Region", hint="Give `region`, or set AWS_REGION."
        )
    if isinstance(
        err,
        (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ),
    ):
        return ApiAccessDeniedError(
            f"cannot ask CloudFormation for the {where}: {err}",
            hint="Sign in, for example with 'aws sso login', or choose another `profile`, also by AWS_PROFILE.",
        )
    return ApiUnavailableError(
        f"cannot ask CloudFormation for the {where}: {err}",
        hint="See that there is a Region of that name, and that this machine reaches it.",
    )
