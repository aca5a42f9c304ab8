"""What the functions import of pymilvus: the files in `grpc_gen`, as they are in its pinned release (Apache License 2.0).

In place of pymilvus' own `__init__`, which imports its client and with it pandas and numpy. See docs/adr/0012-raw-stubs.md.
"""
