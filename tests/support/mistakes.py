"""Mistakes of what tests call, written down where whoever called may get over them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import override


class MistakesNoted(AbstractContextManager[None]):
    """Tells of what is raised within it, and lets it through."""

    def __init__(self, note: Callable[[BaseException], object], *, but: tuple[type[Exception], ...]) -> None:
        """Tell it to `note`, except for those that are no mistakes."""
        self._note = note
        self._but = but

    @override
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, self._but):
            self._note(error)
