"""What a prune decided of each backup."""

from rich.text import Text

from milvus_vault.cli import tables
from milvus_vault.cli.session import Output
from milvus_vault.model.resources import Run


def show_decisions(output: Output, run: Run) -> None:
    """Write each decision with its reason; nothing where the run has left none."""
    decisions = (run.result or {}).get("decisions") or ()
    if not decisions:
        return
    made = tables.table(output, "backup", "schedule", "decision", "why")
    for decision in decisions:
        verdict = str(decision.get("verdict", ""))
        made.add_row(
            Text(str(decision.get("backup_name", "")), style="bold"),
            str(decision.get("schedule") or ""),
            Text(verdict, style="red" if verdict == "delete" else "green"),
            str(decision.get("reason", "")),
        )
    output.show(made)
