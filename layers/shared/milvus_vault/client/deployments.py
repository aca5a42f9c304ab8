"""Deployments by name, as `milvus-vault config` keeps them in a file of the user."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

from pydantic import TypeAdapter, ValidationError, model_validator

from milvus_vault.errors import ApiNotFoundError, InvalidRequestError
from milvus_vault.model.base import Model


class Deployment(Model):
    """Where the API of a deployment is, and who calls it: the options of the same names."""

    url: str = ""
    stack: str = ""
    region: str = ""
    profile: str = ""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if bool(self.url) == bool(self.stack):
            msg = "either `stack` or `url` is needed"
            raise ValueError(msg)
        return self


_FILE = TypeAdapter(dict[str, Deployment])


def deployments_path() -> Path:
    """Return the path of the file, which need not exist: below `XDG_CONFIG_HOME`, by default ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "milvus-vault" / "deployments.json"


def read_deployments() -> dict[str, Deployment]:
    """Return the deployments by name. Raises `ApiNotFoundError` where the file is there and cannot be read."""
    path = deployments_path()
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as err:
        msg = f"the deployments in {path} cannot be read: {_said(err)}"
        raise ApiNotFoundError(msg, hint="Mend the file, or remove it and add them again.") from err


def find_deployment(name: str) -> Deployment:
    """Return a deployment. Raises `ApiNotFoundError` where there is none of the name, as `read_deployments` does."""
    found = read_deployments()
    if name in found:
        return found[name]
    msg = f"there is no deployment '{name}'"
    known = f"has {', '.join(sorted(found))}" if found else "has none"
    raise ApiNotFoundError(msg, hint=f"Name one that was added: {deployments_path()} {known}.")


def write_deployments(deployments: dict[str, Deployment]) -> None:
    """Replace the file, whole or not at all. Raises `InvalidRequestError` where that cannot be."""
    path = deployments_path()
    body = _FILE.dump_json(dict(sorted(deployments.items())), indent=2, exclude_defaults=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(body)
        Path(file.name).replace(path)
    except OSError as err:
        msg = f"cannot write {path}: {err.strerror or err}"
        raise InvalidRequestError(
            msg, hint="See that you may write there. XDG_CONFIG_HOME names another folder for it."
        ) from err


def _said(err: OSError | ValidationError) -> str:
    if isinstance(err, OSError):
        return err.strerror or str(err)
    first = err.errors(include_url=False)[0]
    return ": ".join([*map(str, first["loc"]), first["msg"]])
