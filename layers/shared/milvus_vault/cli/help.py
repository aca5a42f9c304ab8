"""Help as plain lines: typer's own by rich takes as long as all else that `--help` does."""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any, override

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from milvus_vault.errors import did_you_mean

# Lines are no longer than people like to read.
_WIDEST = 120
# What help texts have of rich's markup, and what a terminal makes of it. Where nobody looks, typer takes it out again.
# While lines are broken a character of nobody's stands for each, which is almost as narrow as nothing.
_SIGNS = {"[bold]": "\ue000", "[dim]": "\ue001", "[/]": "\ue002"}
_TAGS = re.compile("|".join(map(re.escape, _SIGNS)))
_CODES = str.maketrans({"\ue000": "\x1b[1m", "\ue001": "\x1b[2m", "\ue002": "\x1b[0m"})
_EXAMPLE = "[dim]"


def _shown(text: str) -> str:
    return _TAGS.sub(lambda found: _SIGNS[found[0]], text)


def _heading(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def _write_text(formatter: Any, text: str) -> None:
    """Write paragraphs that are broken where the terminal ends, and examples as they are."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        formatter.write("\n")
        lines = paragraph.splitlines()
        if lines[0].startswith(_EXAMPLE):
            formatter.write("".join(f"  {_shown(line)}\n" for line in lines))
        else:
            formatter.write_text(_shown(" ".join(lines)))


def _widest_name(formatter: Any) -> int:
    """Return how wide a name may be beside its text: on a narrow terminal the text has most of it."""
    width: int = formatter.width
    return min(30, width // 3)


def _write_section(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(_heading(title)):
            formatter.write_dl([(_heading(name), _shown(text)) for name, text in rows], col_max=_widest_name(formatter))


def _write_parameters(command: TyperCommand | TyperGroup, context: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is None:
            continue
        panel = getattr(parameter, "rich_help_panel", None)
        title = "Options" if isinstance(parameter, TyperOption) else "Arguments"
        # That a name is a text says nothing to anybody.
        row = (record[0].removesuffix(" <str>"), record[1])
        sections.setdefault(panel if isinstance(panel, str) else title, []).append(row)
    for title, rows in sections.items():
        _write_section(formatter, title, rows)


class _Command(TyperCommand):
    @override
    def get_help(self, ctx: Any) -> str:
        return super().get_help(ctx).translate(_CODES)

    @override
    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_text(formatter, self.help or "")

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text("Options of every command, such as --stack and --profile: milvus-vault --help")


class _Group(TyperGroup):
    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Suggest commands for a word that is none: near ones only, where typer suggests `stop` for `restor`."""
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException as err:
            if question := did_you_mean(args[0], self.commands):
                err.message = f"{err.message.rstrip('.')}. {question}"
            raise

    @override
    def get_help(self, ctx: Any) -> str:
        return super().get_help(ctx).translate(_CODES)

    @override
    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_text(formatter, self.help or "")

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels = defaultdict[str, list[tuple[str, str]]](list)
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            sentence = inspect.cleandoc(command.help or "").partition("\n\n")[0]
            panels[panel if isinstance(panel, str) else "Commands"].append((name, " ".join(sentence.splitlines())))
        for title, rows in panels.items():
            _write_section(formatter, title, rows)


class App(typer.Typer):
    """Commands whose help is shown so."""

    def __init__(self, **settings: Any) -> None:
        """Take typer's settings."""
        super().__init__(
            **settings,
            cls=_Group,
            rich_markup_mode=None,
            suggest_commands=False,  # _Group has its own
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
        )

    @override
    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        return super().command(name, cls=_Command, **settings)
