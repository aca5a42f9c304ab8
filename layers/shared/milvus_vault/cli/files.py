"""Files that a person named: the one place where the command line writes them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from milvus_vault.errors import InvalidRequestError


def check_writable(file: Path) -> None:
    """Raise `InvalidRequestError` before anything is begun whose outcome could not be written."""
    with _refusing(file):
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not _is_direct(file):
            part = _part_of(file)
            part.touch(exist_ok=False)
            part.unlink()


@contextmanager
def written_whole(file: Path) -> Iterator[IO[bytes]]:
    """Yield what is a file once all is written, under a name of its own until then. Raises `InvalidRequestError`.

    A device, a pipe or a link gets it as it comes: what stands in their place would be another thing.
    """
    is_direct = _is_direct(file)
    part = file if is_direct else _part_of(file)
    with _refusing(file):
        try:
            with part.open("wb" if is_direct else "xb") as sink:
                yield sink
            if not is_direct:
                if file.exists():
                    shutil.copymode(file, part)
                part.replace(file)
        finally:
            if not is_direct:
                part.unlink(missing_ok=True)


def _is_direct(file: Path) -> bool:
    return file.is_symlink() or (file.exists() and not file.is_file())


def _part_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.{uuid4().hex}.part")


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        msg = f"cannot write {file}: {err.strerror or err}"
        raise InvalidRequestError(msg, hint="Name a file in a folder that is there and can be written to.") from err
