"""What is wrong with a value, in words: people get no regular expressions and none of pydantic's or Python's terms."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import no_info_after_validator_function

# Of a name that is none, which may be anything.
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Form:
    """What a text has to look like; used as `Annotated[str, Form(...)]`."""

    pattern: str
    """For programs: a regular expression with `^` and `$`, which JSON Schema gets."""
    what: str
    """What such a text is, for example `name for a backup`."""
    rule: str
    """The same rule for people."""

    def check(self, text: str) -> str:
        """Return the text. Raises `ValueError` with the rule in words."""
        if not re.fullmatch(self.pattern, text):
            msg = f"'{shown(text)}' is no {self.what}: {self.rule}"
            raise ValueError(msg)
        return text

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic call the check."""
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let JSON Schema have the pattern."""
        return handler(schema) | {"pattern": self.pattern}


def shown(text: str) -> str:
    """Return a text as far as a message quotes it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


# What pydantic has in a path for one of several types, and for the key of a mapping.
_OF_PYDANTIC = re.compile(r"constrained-\w+|\w+\[.*\]|\[key\]", re.DOTALL)

_IN_WORDS: Mapping[str, str] = {
    "extra_forbidden": "unknown field",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "missing": "is missing",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "datetime_from_date_parsing": "should be a time, for example 2027-01-31T02:15:30Z",
    "datetime_parsing": "should be a time, for example 2027-01-31T02:15:30Z",
    "datetime_type": "should be a time, for example 2027-01-31T02:15:30Z",
    "dict_type": "should be an object",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
    "string_type": "should be a text",
    "tuple_type": "should be a list",
    "too_short": "should have {min_length} or more",
    "timezone_aware": "should name its time zone, for example 2027-01-31T02:15:30Z",
    "too_long": "should have at most {max_length}",
    "string_too_short": "should have {min_length} or more characters",
    "string_too_long": "should have at most {max_length} characters",
}


def wrong_fields(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield each field that is wrong, by its path with dots, and what is wrong with it; an empty path: all of it."""
    found = [(_path(item), _in_words(item)) for item in error.errors(include_url=False)]
    for path, words in found:
        # Of a list whose only item is wrong, pydantic says as well that it is too short; of a number or mapping that
        # is a wrong mapping, that it is no number.
        if not any(other.startswith(f"{path}.") for other, _ in found):
            yield path, words


def _path(item: ErrorDetails) -> str:
    return ".".join(shown(str(part)) for part in item["loc"] if not _OF_PYDANTIC.fullmatch(str(part)))


def _in_words(item: ErrorDetails) -> str:
    if (words := _IN_WORDS.get(item["type"])) is not None:
        return words.format_map(item.get("ctx") or {})
    return item["msg"].removeprefix("Value error, ").replace("Input should", "should")
