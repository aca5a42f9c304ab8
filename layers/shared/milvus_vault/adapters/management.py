"""Milvus' management port (9091): pausing garbage collection."""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError

CALL_SECONDS = 5.0

_PATH = "/management/datacoord/garbage_collection/"
_NOT_FOUND = 404


class MilvusGarbageCollector:
    """The port `GarbageCollector` over HTTP. The endpoint asks for no credentials on 2.4 to 2.6."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    def pause(self, seconds: int) -> str:
        """Pause garbage collection, and return the pause's ticket; empty where there is one pause for all.

        The pause ends by itself. Raises `MilvusUnavailableError` where the endpoint does not answer, and
        `MilvusRequestError` where it cannot pause (2.3 has no such call).
        """
        answer = self._get("pause", pause_seconds=str(seconds))
        return str(answer.get("ticket") or "")

    def resume(self, ticket: str) -> None:
        """End the pause of a ticket, or the one for all.

        Raises `MilvusUnavailableError` or `MilvusRequestError`: a ticket that has ended is refused.
        """
        self._get("resume", **({"ticket": ticket} if ticket else {}))

    def _get(self, call: str, **query: str) -> dict[str, Any]:
        url = f"{self._uri}{_PATH}{call}" + (f"?{urlencode(query)}" if query else "")
        try:
            with urllib.request.urlopen(url, timeout=CALL_SECONDS) as answer:  # noqa: S310 - the operator's own
                content = json.load(answer)
        except urllib.error.HTTPError as err:
            hint = "Milvus 2.2 and 2.3 cannot pause; set gc_pause to false." if err.code == _NOT_FOUND else ""
            msg = f"{url} answers {err.code}"
            raise MilvusRequestError(msg, hint=hint) from err
        except OSError as err:
            msg = f"{url} does not answer: {err}"
            raise MilvusUnavailableError(msg, hint="Check MilvusManagementUri and the security groups.") from err
        except ValueError as err:
            msg = f"{url} answers with something that is not Milvus'"
            raise MilvusRequestError(msg, hint="Check MilvusManagementUri.") from err
        return content if isinstance(content, dict) else {}
