"""One call to Milvus through the generated stubs of pymilvus, with its credentials and its failures.

The stubs and not `MilvusClient`: its helpers leave out fields that a backup needs (flush timestamps, the
schema message, load progress by partition), and its import drops options.
"""

import base64
from typing import Any

import grpc
from pymilvus.grpc_gen import milvus_pb2_grpc

from milvus_vault.adapters import milvus_errors

CALL_SECONDS = 60.0

# Message classes are built when pymilvus is imported, so that no type checker knows them.
type Message = Any


class MilvusCall:
    """Makes one call over a channel. Safe to use from several threads."""

    def __init__(self, channel: grpc.Channel, uri: str, *, token: str = "") -> None:
        self._stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        self.uri = uri
        coded = base64.b64encode(token.encode()).decode()
        self._credentials = (("authorization", coded),) if token else ()

    def __call__(
        self,
        name: str,
        request: Message,
        database: str = "",
        *,
        optional: bool = False,
        seconds: float = CALL_SECONDS,
    ) -> Message:
        """Call one RPC, and return the answer. With `optional`, a server that does not know it gives None."""
        # Before 2.2.9 and in some later calls only the header tells the database, in others only the field.
        metadata = (*self._credentials, ("dbname", database)) if database else self._credentials
        try:
            return getattr(self._stub, name)(request, timeout=seconds, metadata=metadata)
        except grpc.RpcError as err:
            if optional and isinstance(err, grpc.Call) and err.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise milvus_errors.from_rpc(err, name, self.uri) from err


class MilvusClient:
    """Some of Milvus' calls. All that the clients of a connection share is what makes a call."""

    def __init__(self, call: MilvusCall) -> None:
        self._call = call
