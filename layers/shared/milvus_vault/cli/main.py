"""The program: reads the command line, runs the command, and turns every error into a message and an exit code."""

import codecs
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

import typer

from milvus_vault.cli.app import app_for
from milvus_vault.cli.exit_codes import ExitCode, code_of
from milvus_vault.cli.session import Output, help_hint
from milvus_vault.errors import InvalidRequestError, VaultError

# Options of milvus-backup whose meaning is the same, and of which ours have other names. Underscores need no entry.
_PEER_OPTIONS = {
    "--colls": "--filter",
    "--collections": "--filter",
    "--drop-exist-collection": "--drop-existing",
    "--skip-create-collection": "--skip-create",
}
# Its options for what is always done here.
_PEER_DEFAULTS = {"--rebuild-index", "--restore-index", "--use-v2-restore"}
_GLOBAL_OPTIONS = {"--url", "--stack", "--deployment", "--region", "--profile", "--output", "-o"}
# Behind these commands some of them mean the command's own, which can be more than text and one document.
_OWN_OPTIONS = {"rows": {"--output", "-o"}}
# What stands for our own signs where the locale has none.
_PLAIN_SIGNS = {"✓": "+", "✗": "x", "→": ">", "…": "."}


def main() -> None:
    """Run the command line of this process, and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    _open_what_was_closed()
    _let_every_character_through()
    # To look for some takes as long as to ask the API. They would only watch.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    sys.exit(run(sys.argv[1:]))


def _open_what_was_closed() -> None:
    """Let what is written to a stream that was closed before this program go nowhere."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the program runs
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the program runs


def _let_every_character_through() -> None:
    """Let no text fail for want of a character in the encoding of the locale: another one stands for it."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(err: UnicodeError) -> tuple[str, int]:
    if not isinstance(err, UnicodeEncodeError):
        raise err
    return "".join(_PLAIN_SIGNS.get(char, "?") for char in err.object[err.start : err.end]), err.end


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    found_globals, rest = _apart(arguments)
    output = Output(is_json=_asks_for_json(found_globals))
    try:
        _check_values(arguments)
        result = app_for(next(iter(rest), ""))(
            args=found_globals + rest, prog_name="milvus-vault", standalone_mode=False
        )
    except VaultError as err:
        code = code_of(type(err).__name__)
        output.error(type(err).__name__, err.message, err.hint, code)
        return code
    except typer.TyperException as err:
        # Of a value that is none of a few, typer tells as well that it is pydantic's ValueError.
        message = err.format_message().replace("Value error, ", "")
        output.error("InvalidRequestError", message, help_hint(getattr(err, "ctx", None)), ExitCode.USAGE)
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        output.errors.print()
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough, as `head` has.
        sys.stdout = None
        return ExitCode.OK
    return result if isinstance(result, int) else ExitCode.OK


def _check_values(arguments: Sequence[str]) -> None:
    """Raise `InvalidRequestError` for an empty value.

    It is what a script passes on of a variable that is not set, and would mean all collections, rows or places.
    """
    for before, argument in pairwise(("", *arguments)):
        name, equals, value = argument.partition("=")
        if not argument or (name.startswith("--") and equals and not value):
            of = name or (before if before.startswith("-") else "")
            msg = f"{of} has an empty value" if of else "a name is empty"
            raise InvalidRequestError(msg, hint="Leave out what is not to be given; is a variable of a script not set?")


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the global options of a command line, and the rest in our spelling: milvus-backup's words replaced."""
    found_globals, rest = [], []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
            break
        name, equals, value = argument.partition("=")
        if name in _GLOBAL_OPTIONS - _OWN_OPTIONS.get(next(iter(rest), ""), set()):
            found_globals += [argument] if equals else [argument, *_next_of(remaining)]
            continue
        if name.startswith("--"):
            name = name.replace("_", "-")
            if name in _PEER_DEFAULTS:
                continue
            name = _PEER_OPTIONS.get(name, name)
        rest.append(f"{name}{equals}{value}")
    return found_globals, rest


def _next_of(remaining: Iterator[str]) -> list[str]:
    value = next(remaining, None)
    return [] if value is None else [value]


def _asks_for_json(found_globals: Sequence[str]) -> bool:
    is_apart = any(one in {"--output", "-o"} and two == "json" for one, two in pairwise(found_globals))
    return is_apart or "--output=json" in found_globals


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    main()
