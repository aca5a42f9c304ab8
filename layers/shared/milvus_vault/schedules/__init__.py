"""Schedules: when backups and drills come by themselves. EventBridge Scheduler keeps them; there is no copy of ours."""

from milvus_vault.schedules.service import DEPLOYED, Schedules

__all__ = ["DEPLOYED", "Schedules"]
