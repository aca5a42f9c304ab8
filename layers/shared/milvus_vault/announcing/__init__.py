"""Telling others what becomes of runs: events, notifications and metrics."""

from milvus_vault.announcing.events import run_event
from milvus_vault.announcing.measures import run_measures, run_totals
from milvus_vault.announcing.notifications import needs_attention, run_notification

__all__ = ["needs_attention", "run_event", "run_measures", "run_notification", "run_totals"]
