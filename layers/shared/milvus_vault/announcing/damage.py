"""Telling of backups that a prune found damaged: once each."""

from collections.abc import Callable
from datetime import datetime

from milvus_vault.announcing.notifications import as_subject
from milvus_vault.catalogue import Catalogue
from milvus_vault.model.events import Measure, MeasureUnit, Metric, Notification
from milvus_vault.model.resources import Damage
from milvus_vault.model.times import utc_minute


def tell_of_damage(
    catalogue: Catalogue, publish: Callable[[Notification], None], *, stack: str, now: datetime
) -> tuple[Measure, ...]:
    """Send a notification for each damaged backup of which none was sent yet, and return how many that were.

    What is told is written down after it was sent: an interruption between the two repeats a notification, and
    loses none.
    """
    untold = [damage for damage in catalogue.damages() if damage.told_at is None]
    for damage in untold:
        publish(_notification(damage, stack))
        catalogue.note_damage(damage.model_copy(update={"told_at": now}))
    return (Measure(Metric.BACKUPS_DAMAGED, MeasureUnit.COUNT, len(untold)),) if untold else ()


def _notification(damage: Damage, stack: str) -> Notification:
    lines = [
        f"Stack {stack}: backup {damage.name} is damaged.",
        "",
        f"Why:        {damage.problem}",
        f"Found:      {utc_minute(damage.found_at)}, by a prune",
        "",
        "It stands in for no other backup by now, and neither a policy nor a sweep deletes it or what it stood in for.",
        "",
        "What to do: make another backup now, while the data is in Milvus. Then `milvus-vault repair` mends what can",
        "be mended, and says what is lost; the bucket keeps deleted and overwritten versions for a week if the stack",
        "made it. docs/operations.md says what to do about damage.",
    ]
    return Notification(
        as_subject(f"[{stack}] backup {damage.name} is damaged"),
        "\n".join(lines),
        (("kind", "backup"), ("status", "damaged"), ("stack", stack)),
    )
