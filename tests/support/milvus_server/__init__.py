"""A server that speaks Milvus' protocols as a chosen version does, for tests without that version.

`MilvusServer` is what tests use; `tests/conformance` holds it to what real servers answered. `versions` is the table
of what differs; `core.Settings` and `core.Faults` are what tests turn.
"""
