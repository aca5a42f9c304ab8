"""Programs in a terminal of their own, as a person sees them."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pyte

REPOSITORY = Path(__file__).parents[2]
COLUMNS, ROWS = 100, 40
PROGRAM = (sys.executable, "-m", "milvus_vault.cli.main")


@dataclass(frozen=True, slots=True)
class Session:
    """What a program showed, from its start to its end."""

    code: int
    """Its exit code."""
    screens: tuple[str, ...]
    """The screen after each change."""

    @property
    def screen(self) -> str:
        """The last screen."""
        return self.screens[-1] if self.screens else ""

    def showed(self, text: str) -> bool:
        """Tell whether a text was on the screen at any time."""
        return any(text in screen for screen in self.screens)


class Terminal:
    """A terminal of 100 columns and 40 rows, in which `milvus-vault` is typed."""

    def __init__(self, state_home: Path) -> None:
        """Give it the folder in which the local stack is found, and nothing of the person at the keyboard."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = kept | {
            "TERM": "xterm-256color",
            "XDG_STATE_HOME": str(state_home),
            "PYTHONPATH": str(REPOSITORY / "layers" / "shared"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def type(
        self,
        *arguments: str,
        answers: Mapping[str, str] | None = None,
        interrupt_at: str = "",
        timeout_seconds: float = 240,
        program: Sequence[str] = PROGRAM,
    ) -> Session:
        """Run a command line to its end.

        Args:
            arguments: of `milvus-vault`.
            answers: what to type when a text is on the screen; each once.
            interrupt_at: press Ctrl-C when this text is on the screen.
            timeout_seconds: when to give up.
            program: another program.
        """
        command, *first = program
        child = pexpect.spawn(
            command, [*first, *arguments], cwd=str(REPOSITORY), env=self.environment, dimensions=(ROWS, COLUMNS)
        )
        screen = pyte.Screen(COLUMNS, ROWS)
        stream = pyte.ByteStream(screen)
        screens: list[str] = []
        waiting = dict(answers or {})
        deadline = time.monotonic() + timeout_seconds
        try:
            while True:
                assert time.monotonic() < deadline, f"{arguments} is still running:\n{screens[-1:]}"
                try:
                    stream.feed(child.read_nonblocking(65536, timeout=0.2))
                except pexpect.TIMEOUT:
                    continue
                except pexpect.EOF:
                    break
                shown = "\n".join(line.rstrip() for line in screen.display).rstrip()
                if screens[-1:] != [shown]:
                    screens.append(shown)
                for text in [text for text in waiting if text in shown]:
                    child.sendline(waiting.pop(text))
                if interrupt_at and interrupt_at in shown:
                    interrupt_at = ""
                    child.sendintr()
            child.wait()
        finally:
            child.close(force=True)
        code = child.exitstatus
        assert code is not None, f"{arguments} was ended by signal {child.signalstatus}:\n{screens[-1:]}"
        return Session(code, tuple(screens))
