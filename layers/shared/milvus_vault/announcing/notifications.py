"""What people are told by e-mail: runs that somebody should look at."""

from milvus_vault.announcing.measures import DAMAGE
from milvus_vault.model.events import Notification, RunEvent
from milvus_vault.model.names import is_restore_of_drill
from milvus_vault.model.readable import duration
from milvus_vault.model.times import utc_second

# The limit of SNS.
_MAX_SUBJECT = 100

_ATTENTION = {"partial", "failed", "timed_out", "stopped"}

_STATUS_WORDS = {"partial": "is partial", "failed": "failed", "timed_out": "timed out", "stopped": "was stopped"}

_WHAT_TO_DO = {
    "backup": "Once the cause is mended, start it again with the same request, or wait for the schedule. What is "
    "copied stays copied.",
    "restore": "Once the cause is mended, start it again with the same request. What is restored stays.",
    "verify": "Verify the backup again once the cause is mended.",
    "export": "Once the cause is mended, start it again with the same request. What is copied stays copied.",
    "drill": "If rows are not as in the backup, verify it at the level deep, and back up again while the data is in "
    "Milvus. If something was refused, mend that, and drill again. Nothing but the drill's own scratch database was "
    "touched.",
    "prune": "Nothing is lost: the next prune goes on. Until then backups stay longer than their policy says.",
}
_WHAT_TO_DO_AFTER = {
    DAMAGE: "Make another backup now, while the data is in Milvus. Then see what happened to the objects that the "
    "message names: the bucket keeps deleted and overwritten versions for a week if the stack made it.",
    "VerificationNotStartedError": "The backup can be restored, and nobody has verified it: do it once the cause is "
    "mended.",
    "CopyNotStartedError": "The backup can be restored, and lies in no other place: copy it once the cause is mended. "
    "Where the message names its verification as well, do that, too.",
}
_WHAT_TO_DO_WHEN_PARTIAL = {
    "backup": "The backup can be restored, without the collections that the message names. Back those up again by "
    "naming them in `collections`.",
    "restore": "Collections that the message does not name are restored. Start it again with the same request for "
    "the others.",
}


def needs_attention(event: RunEvent) -> bool:
    """Return whether people should be told of an event.

    Where the restore of a drill fails, the drill does, and says why: they are told once.
    """
    return event.status in _ATTENTION and not is_restore_of_drill(event.run)


def run_notification(event: RunEvent) -> Notification:
    """Return what to tell of a run that needs attention."""
    about = f" of {event.backup_name}" if event.backup_name else ""
    words = _STATUS_WORDS[event.status]
    by = f", asked for by schedule {event.schedule}" if event.schedule else ""
    lines = [
        f"Stack {event.stack}: the {event.kind}{about} {words}{by}.",
        "",
        f"Error:      {event.error}",
        f"Why:        {event.message or 'no reason was given'}",
        *([f"Hint:       {event.hint}"] if event.hint else []),
        f"What to do: {_what_to_do(event)}",
        "",
        f"Run:        {event.run}",
        f"Began:      {utc_second(event.started_at)}",
        *(
            [f"Ended:      {utc_second(event.ended_at)}, after {duration(event.duration_seconds)}"]
            if event.ended_at
            else []
        ),
        f"Console:    {event.console_url}",
        "",
        "docs/errors.md explains every error; docs/operations.md says what to do about alarms.",
    ]
    attributes = [("kind", event.kind), ("status", event.status), ("stack", event.stack)]
    if event.schedule:
        attributes.append(("schedule", event.schedule))
    subject = f"[{event.stack}] {event.kind}{about} {words}: {event.error}"
    return Notification(as_subject(subject), "\n".join(lines), tuple(attributes))


def as_subject(text: str) -> str:
    """Return a text as SNS takes it for a subject: ASCII, one line, 100 characters."""
    plain = " ".join(text.encode("ascii", "replace").decode().split())
    return plain if len(plain) <= _MAX_SUBJECT else f"{plain[: _MAX_SUBJECT - 3]}..."


def _what_to_do(event: RunEvent) -> str:
    if event.error in _WHAT_TO_DO_AFTER:
        return _WHAT_TO_DO_AFTER[event.error]
    if event.status == "partial":
        return _WHAT_TO_DO_WHEN_PARTIAL.get(event.kind, _WHAT_TO_DO[event.kind])
    return _WHAT_TO_DO[event.kind]
