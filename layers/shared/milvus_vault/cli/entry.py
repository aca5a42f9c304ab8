"""The entry of the program: Ctrl-C ends it without a traceback from its first moment on."""

import sys

INTERRUPTED = 130
"""As `ExitCode.INTERRUPTED`, which is not imported yet."""


def main() -> None:
    """Run the command line of this process, and exit."""
    try:
        from milvus_vault.cli import main as program  # noqa: PLC0415 - what is imported here takes its time

        program.main()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(INTERRUPTED)
