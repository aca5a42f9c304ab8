"""Lists of what the API has, cut off where the user asked for no more."""

from collections.abc import Callable, Iterable

from pydantic import BaseModel
from rich.console import RenderableType

from milvus_vault.cli.session import Output


def show_list[Item: BaseModel](
    output: Output,
    items: Iterable[Item],
    limit: int,
    table: Callable[[Output, Iterable[Item]], RenderableType],
    if_none: str,
) -> None:
    """Write a list as table or document.

    Args:
        output: where to.
        items: one more than `limit`, where there are more.
        limit: how many to show.
        table: makes the table.
        if_none: what to say where there are none.
    """
    found = list(items)
    shown = found[:limit]
    if output.is_json:
        output.document({"items": [item.model_dump(mode="json") for item in shown], "has_more": len(found) > limit})
        return
    if not shown:
        output.say("{text}", text=if_none)
        return
    output.show(table(output, shown))
    if len(found) > limit:
        output.tell("[dim]There are more: --limit {limit} shows them.[/]", limit=limit * 5)
