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
    made = tables.table(output, "backup", "decision", "why")
    made.columns[-1].no_wrap = False
    for decision in decisions:
        verdict = Text("keep", style="green") if decision["keep"] else Text("delete", style="red")
        reason = str(decision["reason"]).removeprefix("kept: ").removeprefix("deleted: ")
        made.add_row(Text(str(decision["name"]), style="bold"), verdict, Text(reason))
    output.show(made)
