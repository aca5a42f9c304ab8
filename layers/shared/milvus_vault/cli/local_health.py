"""Whether what the local stack has started is well: each part is asked itself."""

import urllib.error
import urllib.request
from collections.abc import Callable

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from milvus_vault.client.discovery import local_door
from milvus_vault.client.local_state import LocalState
from milvus_vault.client.vault import VaultClient
from milvus_vault.errors import VaultError
from milvus_vault.model import readable
from milvus_vault.model.resources import CheckItem

_TIMEOUT_SECONDS = 5
_AGAIN = "'milvus-vault local down', then 'milvus-vault local up': what it holds is gone then."
_QUICK = Config(
    connect_timeout=_TIMEOUT_SECONDS,
    read_timeout=_TIMEOUT_SECONDS,
    retries={"total_max_attempts": 1},
    proxies={},  # whatever the environment says
    inject_host_prefix=False,  # names such as `sync-states.127.0.0.1` do not resolve
)


class _UnwellError(Exception):
    """What is said of a part that does not answer as it should."""


def look(state: LocalState) -> tuple[CheckItem, ...]:
    """Return a verdict on Milvus, on its collections as the deployment sees them, on S3 and on Step Functions."""
    door = local_door(state.api_url)

    def collections() -> str:
        count = sum(1 for _ in VaultClient(door.url, door.caller).list_collections())
        return f"the deployment sees {readable.number_of(count, 'collection')}"

    def buckets() -> str:
        client = door.caller.session.client("s3", endpoint_url=state.aws_url, config=_QUICK)
        return readable.number_of(len(client.list_buckets()["Buckets"]), "bucket")

    def machines() -> str:
        client = door.caller.session.client("stepfunctions", endpoint_url=state.aws_url, config=_QUICK)
        return readable.number_of(len(client.list_state_machines()["stateMachines"]), "state machine")

    well = milvus(state)
    # What is not ready itself makes who asks for collections wait.
    seen = () if well.verdict == "failed" else (_tried("collections", collections),)
    return (well, *seen, _tried("s3", buckets), _tried("step_functions", machines))


def milvus(state: LocalState) -> CheckItem:
    """Return a verdict on Milvus, by what it says of itself."""
    return _tried("milvus", lambda: _milvus(state))


def _tried(name: str, ask: Callable[[], str]) -> CheckItem:
    try:
        return CheckItem(name=name, verdict="ok", message=ask())
    except VaultError as err:
        return CheckItem(name=name, verdict="failed", message=err.message, hint=err.hint)
    except (_UnwellError, BotoCoreError, ClientError) as err:
        return CheckItem(name=name, verdict="failed", message=str(err), hint=_AGAIN)


def _milvus(state: LocalState) -> str:
    """Return what Milvus says of itself. Raises _UnwellError."""
    if not state.management_uri:
        return f"at {state.milvus_uri}, not asked: an earlier build has started it"
    url = f"{state.management_uri}/healthz"
    # Whatever the proxy of the environment is: this is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=_TIMEOUT_SECONDS) as answer:
            said = answer.read().decode(errors="replace").strip()
    except urllib.error.HTTPError as err:
        said = err.read().decode(errors="replace").strip() or str(err)
    except OSError as err:
        msg = f"{url} does not answer: {getattr(err, 'reason', err)}"
        raise _UnwellError(msg) from err
    if said != "OK":
        msg = f"Milvus says of itself: {said}"
        raise _UnwellError(msg)
    return f"{state.milvus_version} at {state.milvus_uri} says that it is well"
