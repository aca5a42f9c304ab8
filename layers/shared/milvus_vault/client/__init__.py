"""A typed client of Milvus Vault's API.

    from milvus_vault.client import connect

    vault = connect(stack="milvus-vault")
    started = vault.create_backup(BackupRequest(backup_name="before_upgrade"))
    run = vault.wait_for_run(started.id, timeout_seconds=3600)
    print(run.status, vault.get_backup("before_upgrade").size_bytes)

Every method takes and returns models of `milvus_vault.model`, and raises the leaves of `milvus_vault.errors`:
those that the API names, and ApiAccessDeniedError, ApiUnavailableError, ApiNotFoundError and WaitTimeoutError.
"""

from milvus_vault.client.discovery import Door, connect, find_door
from milvus_vault.client.vault import VaultClient

__all__ = ["Door", "VaultClient", "connect", "find_door"]
