"""What real servers answered, and where the protocol server may answer otherwise."""

import json
from pathlib import Path

from tests.conformance.asking import Fact, Milvus
from tests.conformance.questions import SCENARIOS

FACTS = Path(__file__).parent / "facts"

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""Reasons, by version and fact. A fact that is listed and equal all the same fails the suite."""

type Flat = dict[str, Fact]


def flat(facts: Fact, path: str = "") -> Flat:
    """Return single facts by their path."""
    if not isinstance(facts, dict) or not facts:
        return {path: facts}
    found: Flat = {}
    for key, value in facts.items():
        found |= flat(value, f"{path} / {key}" if path else key)
    return found


def known(version: str) -> dict[str, Fact]:
    """Return what the real server of a version answered, by scenario."""
    found: dict[str, Fact] = json.loads((FACTS / f"milvus-{version}.json").read_bytes())
    return found


def ask(milvus: Milvus, scenario: str) -> Fact:
    """Return what a server answers, as it comes out of JSON."""
    return json.loads(json.dumps(SCENARIOS[scenario](milvus)))
