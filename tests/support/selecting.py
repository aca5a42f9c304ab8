"""Let a fixture that does the work of many tests do no more than the selected ones need."""

from typing import Any

import pytest


def selected(request: pytest.FixtureRequest, parameter: str) -> list[Any]:
    """Return the values that a parameter has in the selected tests of the module, each once."""
    mine = [
        item for item in request.session.items if isinstance(item, pytest.Function) and item.module is request.module
    ]
    values = [
        item.callspec.params[parameter]
        for item in mine
        if hasattr(item, "callspec") and parameter in item.callspec.params
    ]
    return [value for number, value in enumerate(values) if value not in values[:number]]
