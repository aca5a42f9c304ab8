"""The text of a metadata file of milvus-backup, read while it comes: its segments are taken out one by one.

Of a million objects these files are a quarter of a gigabyte each, nearly all of it the logs of segments. What is left
without them, the outline, is some kilobytes for a collection.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from milvus_vault.archive.json_reader import JsonReader

type Shape = Mapping[str, "Shape | None"]
"""By member of an object that is an array: the shape of its items, or None where they are segments."""


def read_outline[T](
    pieces: Iterable[bytes], shape: Shape, segment: Callable[[str, str], T]
) -> tuple[dict[str, Any], list[list[T]]]:
    """Return an object without its segments, and the arrays of these. In place of an array is its position among them.

    Args:
        pieces: Of the text. No more of it is held than the largest value that is read as a whole, and some pieces.
        shape: Where segments are.
        segment: Returns what is to be in an array for one, given where it is, for messages, and its text.

    Raises:
        ValueError: It is not the JSON text of an object, or nests too deeply, or has something else for an array of
            segments, or a value that is too large; and what `segment` raises.
    """
    reader = _Reader(pieces, segment)
    outline = reader.members(shape, "")
    reader.end()
    return outline, reader.arrays


class _Reader[T](JsonReader):
    def __init__(self, pieces: Iterable[bytes], segment: Callable[[str, str], T]) -> None:
        super().__init__(pieces)
        self.arrays: list[list[T]] = []
        self._segment = segment

    def members(self, shape: Shape, path: str) -> dict[str, Any]:
        """Read an object."""
        return {
            name: self._member(shape[name], f"{path}{name}") if name in shape else self.value()[0]
            for name in self.names()
        }

    def _member(self, shape: Shape | None, path: str) -> object:
        """Read what should be an array."""
        if self.next() == "[":
            return self._segments(path) if shape is None else self._objects(shape, path)
        value, _ = self.value()
        if value is not None and shape is None:
            msg = f"{path}: it is no array"
            raise ValueError(msg)
        return value

    def _objects(self, shape: Shape, path: str) -> list[Any]:
        return [
            self.members(shape, f"{path}.{number}.") if self.next() == "{" else self.value()[0]
            for number in self.items()
        ]

    def _segments(self, path: str) -> int:
        self.arrays.append([self._segment(f"{path}.{number}", self.value()[1]) for number in self.items()])
        return len(self.arrays) - 1
