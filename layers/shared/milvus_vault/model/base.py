"""The base of every model: frozen, and strict about fields it does not know."""

import base64
from threading import RLock
from typing import Annotated, Any, override

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_building = RLock()


class Model(BaseModel):
    """A frozen value; an unknown field is an error, so that a typo is never ignored.

    It is built when it is used first: a function imports a hundred models, and uses ten (ADR 51).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    @override
    def model_rebuild(
        cls,
        *,
        force: bool = False,
        raise_errors: bool = True,
        _parent_namespace_depth: int = 2,
        _types_namespace: Any = None,
    ) -> bool | None:
        """Build the model if it is not, one thread at a time.

        Pydantic takes what is half built apart again where two threads use a model first at the same time, and a third
        then validates by the base class. And it would look for names of types among the variables of whoever uses the
        model first: ours are those of the module alone, and to read such variables has ended Python 3.13.0 by a fault.
        """
        with _building:
            return super().model_rebuild(
                force=force,
                raise_errors=raise_errors,
                _parent_namespace_depth=0,
                _types_namespace=_types_namespace or {},
            )


def _decode(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Blob = Annotated[
    bytes,
    BeforeValidator(_decode, json_schema_input_type=str),
    PlainSerializer(lambda raw: base64.b64encode(raw).decode(), return_type=str, when_used="json"),
]
"""Bytes, which are Base64 where they are JSON. Text that is not Base64 is an error."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""How many of something a stored document says that there are, or bytes: no more than Milvus or S3 can count."""

Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""An ID, or one of Milvus' codes: signed, of 64 bits, as Protocol Buffers have it."""
