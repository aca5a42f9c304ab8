"""The command line `milvus-vault`, on top of the client."""
