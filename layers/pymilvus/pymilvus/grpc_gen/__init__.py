from . import schema_pb2, milvus_pb2, common_pb2, feder_pb2, milvus_pb2_grpc

__all__ = [
    "milvus_pb2",
    "common_pb2",
    "feder_pb2",
    "schema_pb2",
    "milvus_pb2_grpc",
]
