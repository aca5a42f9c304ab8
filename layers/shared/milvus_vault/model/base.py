"""The base of every model: frozen, and strict about fields it does not know."""

import base64
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer


class Model(BaseModel):
    """A frozen value; an unknown field is an error, so that a typo is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
