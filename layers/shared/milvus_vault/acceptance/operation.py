"""Items about what happens and tells by itself: schedules, alarms, notifications, metrics."""

from collections.abc import Iterator
from datetime import UTC, datetime

from milvus_vault.acceptance.account import ALARM
from milvus_vault.acceptance.items import Finding, Need, item, judged, not_possible
from milvus_vault.acceptance.runs import FULL
from milvus_vault.acceptance.trial import Trial
from milvus_vault.model.requests import BackupRequest, DrillRequest
from milvus_vault.model.resources import ScheduleSpec

_EVERY_MINUTE = "rate(1 minute)"
_FIRES_WITHIN_SECONDS = 240.0
_DEAD = "See whether the queue of dead letters has messages, and what their ERROR_CODE is."
_REASON = "Set by the acceptance of this deployment, to see whom it tells."


def _schedule(trial: Trial) -> str:
    return f"{trial.name}minutes"


def _drills(trial: Trial) -> str:
    return f"{trial.name}drills"


@item(15, Need.WRITES, Need.COLLECTION, after="backup", is_late=True)
def schedules_are_made(trial: Trial) -> Finding:
    """A schedule that backs up and one that drills are made by the API, and are told with their next firing."""
    # Where this is killed, what the schedule then makes does not stay for ever.
    request = BackupRequest(collections=trial.collections, expire_after="1d")
    drill = DrillRequest(backup_name=trial.name + FULL, allow_version=True)
    made = [
        trial.vault.put_schedule(_schedule(trial), ScheduleSpec(expression=_EVERY_MINUTE, request=request)),
        trial.vault.put_schedule(_drills(trial), ScheduleSpec(expression=_EVERY_MINUTE, drill=drill)),
    ]
    next_runs = [one.next_run_at for one in made if one.next_run_at is not None]
    problems = ["nobody knows when it fires next"] * (len(made) - len(next_runs))
    in_seconds = [f"{(at - datetime.now(UTC)).total_seconds():.0f}" for at in next_runs]
    return judged(problems, f"{_EVERY_MINUTE}, which fire in {' and '.join(in_seconds)} s")


@item(15, Need.WRITES, Need.COLLECTION, after="schedules_are_made", is_late=True)
def schedule_fires(trial: Trial) -> Finding:
    """A schedule starts backups by itself, with the role that it was given."""
    name = _schedule(trial)

    def has_backup() -> bool:
        return any(True for _ in trial.vault.list_backups(schedule=name))

    is_there = trial.until(_FIRES_WITHIN_SECONDS, has_backup)
    trial.vault.delete_schedule(name)
    return judged([] if is_there else [_not_within("backup was made")], "a backup that nobody started by hand", _DEAD)


@item(15, Need.WRITES, Need.COLLECTION, after="schedules_are_made", is_late=True)
def schedule_drills(trial: Trial) -> Finding:
    """A schedule starts drills by itself, and tells when the last one succeeded."""
    name = _drills(trial)
    is_there = trial.until(_FIRES_WITHIN_SECONDS, lambda: trial.vault.get_schedule(name).last_success_at is not None)
    trial.vault.delete_schedule(name)
    return judged([] if is_there else [_not_within("drill succeeded")], "a drill that nobody started by hand", _DEAD)


def _not_within(what: str) -> str:
    return f"no {what} within {_FIRES_WITHIN_SECONDS:.0f} s"


@item(15)
def no_dead_letters(trial: Trial) -> Finding:
    """Nothing waits in the queue of what could not be started or announced."""
    count = trial.account.queue_length(trial.stack.outputs["DeadLetterQueueUrl"])
    hint = "Each message has ERROR_CODE and ERROR_MESSAGE: docs/operations.md says what to do."
    return judged([f"{count} messages are in it"] if count else [], "the queue is empty", hint)


@item(16)
def alarms(trial: Trial) -> Finding:
    """Each alarm tells the topic."""
    found = trial.stack.of_type(ALARM)
    return judged(_alarm_problems(trial, found), f"{len(found)} alarms tell the topic")


def _alarm_problems(trial: Trial, alarms_by_name: dict[str, str]) -> Iterator[str]:
    topic = trial.stack.outputs["AlarmTopicArn"]
    if not alarms_by_name:
        yield "the stack has no alarm"
    for name, alarm in alarms_by_name.items():
        state, told = trial.account.alarm(alarm)
        if topic not in told:
            yield f"{name} does not tell the topic"
        if state == "ALARM" and name == "DeadLettersAlarm":
            yield f"{name} is in alarm"


@item(16, Need.WRITES)
def alarm_is_set_off(trial: Trial) -> Finding:
    """An alarm that is set off tells the topic, and is set back to what it was."""
    alarm = trial.stack.physical("RunFailedAlarm")
    before, _ = trial.account.alarm(alarm)
    # Only a change of its state tells anybody.
    for state in ("OK", "ALARM") if before == "ALARM" else ("ALARM",):
        trial.account.set_alarm(alarm, state, _REASON)
    try:
        state, _ = trial.account.alarm(alarm)
        told = trial.is_local or trial.until(90, lambda: _has_told(trial, alarm))
    finally:
        trial.account.set_alarm(alarm, before, _REASON)
    problems = [] if state == "ALARM" else [f"it is {state} after it was set off"]
    if not told:
        problems.append("its history does not say that it has told the topic")
    evidence = "set off and set back" if trial.is_local else "its history says that it has told the topic"
    return judged(problems, evidence)


def _has_told(trial: Trial, alarm: str) -> bool:
    return any(
        kind == "Action" and "Successfully executed action" in summary
        for kind, summary in trial.account.alarm_history(alarm, trial.began)
    )


@item(16)
def subscriptions(trial: Trial) -> Finding:
    """Somebody is told by the topic, and has confirmed it."""
    found = trial.account.subscriptions(trial.stack.outputs["AlarmTopicArn"])
    if not found:
        return not_possible("nobody is subscribed to the topic", "Deploy with NotificationEmail, or subscribe to it.")
    waiting = [arn for arn in found if not arn.startswith("arn:")]
    hint = "Open the link in the message that was sent to confirm it."
    return judged([f"{len(waiting)} wait to be confirmed"] if waiting else [], f"{len(found)} are confirmed", hint)


@item(16)
def dashboard(trial: Trial) -> Finding:
    """The dashboard is there, and its widgets are of this stack."""
    widgets = trial.account.widgets(trial.stack.physical("Dashboard"))
    return judged([] if widgets else ["it has no widgets"], f"{len(widgets)} widgets")


@item(16, emulator="makes no metrics of the log", after="backup", is_late=True)
def metrics(trial: Trial) -> Finding:
    """The metrics that the functions write into the log are in CloudWatch."""

    def found() -> bool:
        return bool(trial.account.metrics("MilvusVault", "stack", trial.stack.name))

    # CloudWatch lists a new metric within some minutes.
    is_there = trial.until(300, found)
    return judged([] if is_there else ["no metric of the namespace MilvusVault is of this stack"], "they are listed")
