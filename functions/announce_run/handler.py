"""AnnounceRun: tell others that a run has another state, by an event, a notification and metrics."""

from milvus_vault.adapters.announcements import emit, publish, put_event
from milvus_vault.announcing import needs_attention, run_event, run_measures, run_notification, run_totals
from milvus_vault.model.events import RunEvent
from milvus_vault.model.messages import AnnounceRunRequest
from milvus_vault.runtime import logger, task
from milvus_vault.settings import AnnounceSettings


@task
def handler(change: AnnounceRunRequest) -> RunEvent:
    """Announce a change. Repeating it sends the same event once more, with the same ID."""
    settings = AnnounceSettings.from_env()
    event = run_event(change.detail, settings.stack_name)
    logger.set_correlation_id(event.run)
    put_event(event)
    if needs_attention(event):
        publish(settings.alarm_topic_arn, run_notification(event))
    emit(run_totals(event), stack=event.stack)
    emit(run_measures(event), stack=event.stack, kind=event.kind, schedule=event.schedule or "none")
    return event
