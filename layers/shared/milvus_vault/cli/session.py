"""What all commands share: the global options, where output goes, and the client once it is needed."""

import json
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from milvus_vault.cli.words import spoken

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

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

    # Made when they are used first, since rich takes its time, and help does without.
    @cached_property
    def errors(self) -> "Console":
        """Return the console of standard error."""
        from milvus_vault.cli.terminal import HarmlessConsole  # noqa: PLC0415 - see above

        errors = HarmlessConsole(stderr=True, highlight=False)
        if not errors.is_terminal:
            errors.soft_wrap = True
        return errors

    @cached_property
    def text(self) -> "Console":
        """Return the console of standard output."""
        from milvus_vault.cli.terminal import HarmlessConsole  # noqa: PLC0415 - see above

        out = HarmlessConsole(highlight=False)
        return out if out.is_terminal else HarmlessConsole(highlight=False, width=_WIDTH_OF_FILES)

    @property
    def is_live(self) -> bool:
        """Whether a person looks at a terminal that lines can be redrawn on."""
        return self.text.is_terminal and not self.is_json and not self.text.is_dumb_terminal

    def show(self, renderable: "RenderableType") -> None:
        """Write something for people. As plain lines without trailing blanks where nobody looks."""
        if self.text.is_terminal:
            self.text.print(renderable)
            return
        from rich.text import Text  # noqa: PLC0415 - see above

        from milvus_vault.cli.terminal import harmless  # noqa: PLC0415 - see above

        if isinstance(renderable, Text):
            written = harmless(renderable.plain)
        else:
            with self.text.capture() as captured:
                self.text.print(renderable)
            written = captured.get()
        print(*(line.rstrip() for line in written.splitlines()), sep="\n", flush=True)

    def say(self, markup: str, /, *, is_whole: bool = False, **values: object) -> None:
        """Write a remark: to standard output as text, to standard error beside JSON.

        Args:
            markup: the remark with Rich's markup, and names of values in braces.
            is_whole: do not break it into lines, so that an address can be copied from a terminal.
            values: what the names stand for. They may come from anywhere: markup in them is none, and fields of
                requests are options in them.
        """
        self._write(self.errors if self.is_json else self.text, markup, values, is_whole=is_whole)
        sys.stdout.flush()

    def warn(self, sentence: str, said: str) -> None:
        """Write a warning below what it concerns: a sentence, and under it what Milvus said, which may be empty."""
        if not self.text.is_terminal or self.is_json:
            self.say("  [yellow]![/] {sentence}", sentence=sentence)
            if said:
                self.say("    Milvus said: {said}", said=said)
            return
        from rich.table import Table  # noqa: PLC0415 - most commands need none
        from rich.text import Text  # noqa: PLC0415

        # What goes on in the next line is below its beginning.
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column()
        grid.add_column(overflow="fold")
        grid.add_row(Text("  !", style="yellow"), Text(spoken(sentence)))
        if said:
            grid.add_row("", Text(f"Milvus said: {spoken(said)}", style="dim"))
        self.text.print(grid)

    def tell(self, markup: str, /, *, is_whole: bool = False, **values: object) -> None:
        """Write a remark to standard error; see `say`."""
        self._write(self.errors, markup, values, is_whole=is_whole)

    def _write(self, console: "Console", markup: str, values: dict[str, object], *, is_whole: bool) -> None:
        from rich.markup import escape  # noqa: PLC0415 - see above

        text = markup.format_map({name: escape(spoken(str(value))) for name, value in values.items()})
        console.print(text, soft_wrap=is_whole or not console.is_terminal)

    def document(self, content: "BaseModel | dict[str, Any] | list[Any]", *, compact: bool = False) -> None:
        """Write a JSON document to standard output."""
        from milvus_vault.cli.terminal import escaped  # noqa: PLC0415 - see above

        self.has_written_document = True
        value = content if isinstance(content, dict | list) else content.model_dump(mode="json")
        text = json.dumps(value, indent=None if compact else 2, ensure_ascii=False)
        print(escaped(text, sys.stdout.encoding), flush=True)

    def line(self, text: str, *, is_json: bool) -> None:
        """Write a line of data, with its end, to standard output: as it is, unless a terminal would obey it.

        Data lose no character to the locale: JSON has escapes, and what goes to a file or a program is UTF-8.
        """
        from milvus_vault.cli.terminal import escaped, harmless  # noqa: PLC0415 - see above

        self.has_written_document = True
        if is_json:
            sys.stdout.write(escaped(text, sys.stdout.encoding))
        elif self.text.is_terminal:
            sys.stdout.write(harmless(text))
        else:
            sys.stdout.buffer.write(text.encode())

    def error(self, name: str, message: str, hint: str = "", exit_code: int = 1) -> None:
        """Write an error to standard error, and as JSON the document that a script gets instead of a result."""
        self.tell("[bold red]error:[/] {message}", message=message)
        if hint:
            self.tell("[bold]hint:[/] {hint}", hint=hint)
        if self.is_json and not self.has_written_document:
            said = {"error": name, "message": spoken(message), "hint": spoken(hint)}
            self.document({**said, "exit_code": exit_code})


@dataclass(slots=True)
class Session:
    """The global options."""

    url: str = ""
    stack: str = ""
    deployment: str = ""
    region: str = ""
    profile: str = ""
    output: Output = field(default_factory=Output)
    client: "VaultClient | None" = None

    def vault(self) -> "VaultClient":
        """Return the client. Raises ApiNotFoundError where no API is found, and as `connect` does."""
        from milvus_vault.client import connect  # noqa: PLC0415 - boto3 takes half a second

        if self.client is None:
            self.client = connect(
                url=self.url,
                stack=self.stack,
                deployment=self.deployment,
                region=self.region,
                profile=self.profile,
                on_repetition=lambda reason: self.output.tell("[dim]{reason}; asking again[/]", reason=reason),
            )
        return self.client


def help_hint(context: typer.Context | None) -> str:
    """Return what to say where a command line is wrong: which command explains its options."""
    path = context.command_path if context is not None else "milvus-vault"
    return f"'{path} --help' explains the options."


def session_of(context: typer.Context) -> Session:
    """Return the session that the global options made."""
    session = context.find_object(Session)
    return session or Session()
