"""Milvus' management port (9091): pausing garbage collection."""

import urllib.error
import urllib.request

from milvus_vault.errors import MilvusRequestError, MilvusUnavailableError

CALL_SECONDS = 5.0


class MilvusGarbageCollector:
    """The port `GarbageCollector` over HTTP. The endpoint asks for no credentials on 2.4 to 2.6."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    def pause(self, seconds: int) -> None:
        """Pause garbage collection; the pause ends by itself.

        Raises `MilvusUnavailableError` where the endpoint does not answer, and `MilvusRequestError` where
        it cannot pause (2.3 has no such call).
        """
        url = f"{self._uri}/management/datacoord/garbage_collection/pause?pause_seconds={seconds}"
        try:
            with urllib.request.urlopen(url, timeout=CALL_SECONDS):  # noqa: S310 - the operator's own endpoint
                return
        except urllib.error.HTTPError as err:
            msg = f"{url} answers {err.code}"
            raise MilvusRequestError(msg, hint="Milvus 2.2 and 2.3 cannot pause; set gc_pause to false.") from err
        except OSError as err:
            msg = f"{url} does not answer: {err}"
            raise MilvusUnavailableError(msg, hint="Check MilvusManagementUri and the security groups.") from err
