"""What all commands share: the global options, where output goes, and the client once it is needed."""

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

if TYPE_CHECKING:
    from pydantic import BaseModel

    from milvus_vault.client import VaultClient

# Wide enough that nothing is cut off or wrapped where a program reads.
_WIDTH_OF_FILES = 1000


class Output:
    """Where a command's output goes.

    As text: tables and progress to standard output. As JSON: exactly one document to standard output (`watch`: one
    a line), and what is said on the way to standard error. Errors always go to standard error.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        """Write JSON, or text for people."""
        self.is_json = is_json
        self.has_written_document = False
        self.errors = Console(stderr=True, highlight=False)
        if not self.errors.is_terminal:
            self.errors.soft_wrap = True
        out = Console(highlight=False)
        self.text = out if out.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)

    @property
    def is_live(self) -> bool:
        """Whether a person looks at a terminal that lines can be redrawn on."""
        return self.text.is_terminal and not self.is_json and not self.text.is_dumb_terminal

    def show(self, renderable: RenderableType) -> None:
        """Write something for people. As plain lines without trailing blanks where nobody looks."""
        if self.text.is_terminal:
            self.text.print(renderable)
            return
        with self.text.capture() as captured:
            self.text.print(renderable)
        print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n", flush=True)

    def say(self, markup: str, *, is_whole: bool = False) -> None:
        """Write a remark: to standard output as text, to standard error beside JSON.

        With `is_whole` it is not broken into lines, so that an address can be copied from a terminal.
        """
        console = self.errors if self.is_json else self.text
        console.print(markup, soft_wrap=is_whole or not console.is_terminal)
        sys.stdout.flush()

    def document(self, content: "BaseModel | dict[str, Any] | list[Any]", *, compact: bool = False) -> None:
        """Write a JSON document to standard output."""
        self.has_written_document = True
        value = content if isinstance(content, dict | list) else content.model_dump(mode="json")
        print(json.dumps(value, indent=None if compact else 2, ensure_ascii=False), flush=True)

    def error(self, name: str, message: str, hint: str = "", exit_code: int = 1) -> None:
        """Write an error to standard error, and as JSON the document that a script gets instead of a result."""
        self.errors.print(f"[bold red]error:[/] {escape(message)}")
        if hint:
            self.errors.print(f"[bold]hint:[/] {escape(hint)}")
        if self.is_json and not self.has_written_document:
            self.document({"error": name, "message": message, "hint": hint, "exit_code": exit_code})


@dataclass(slots=True)
class Session:
    """The global options."""

    url: str = ""
    stack: str = ""
    region: str = ""
    profile: str = ""
    output: Output = field(default_factory=Output)
    client: "VaultClient | None" = None

    def vault(self) -> "VaultClient":
        """Return the client. Raises ApiNotFoundError where no API is found, and as `connect` does."""
        from milvus_vault.client import connect  # noqa: PLC0415 - boto3 takes half a second

        if self.client is None:
            self.client = connect(url=self.url, stack=self.stack, region=self.region, profile=self.profile)
        return self.client


def session_of(context: typer.Context) -> Session:
    """Return the session that the global options made."""
    session = context.find_object(Session)
    return session or Session()
