"""The console says what is wrong in its own words: by the labels of its forms."""

import re

import pytest

from milvus_vault.console.showing import FOLDER, environment
from milvus_vault.console.words import LABELS, spoken
from milvus_vault.model.names import WATCH_OR_STOP

TEMPLATES = {path.name: path.read_text() for path in (FOLDER / "templates").glob("*.j2")}


@pytest.mark.parametrize(
    ("said", "in_its_words"),
    [
        ("Give `allow_version`.", "Give “Into Milvus 2.2 or 2.3 as well”."),
        (
            "other names (`suffix`, `rename`)",
            "other names (“Suffix of the new names”, `rename` of the command line and the API)",
        ),
        ("with `load: false`", "with `load: false` of the command line and the API"),
        ("with `drop_existing: false`", "with “Replace what exists”: false"),
        ("`GET /runs` lists the runs.", "“Runs” lists the runs."),
        (f"{WATCH_OR_STOP}.", "Watch it by “Runs”, or stop it by “Stop it” on its page."),
        ("partition `p` is none", "partition `p` is none"),
    ],
)
def test_fields_and_routes_have_the_names_of_its_forms(said: str, in_its_words: str) -> None:
    assert spoken(said).startswith(in_its_words)


@pytest.mark.parametrize("label", [label for label in LABELS.values() if label.startswith("“")])
def test_each_label_is_one_of_a_form(label: str) -> None:
    words = label.strip("“”")
    assert any(words in re.sub(r"\s+", " ", text) for text in TEMPLATES.values())


def test_what_is_wrong_is_shown_in_its_words_wherever_it_is_shown() -> None:
    shown = r"\{\{ (?:run\.|refusal\.|one\.)?(?:hint|message) \}\}"
    assert {name: found for name, text in TEMPLATES.items() if (found := re.findall(shown, text))} == {}
    page = (
        environment()
        .get_template("problem_part.html.j2")
        .render(error="CollectionExistsError", message="taken", hint="Give a `suffix`.")
    )
    assert "Give a “Suffix of the new names”." in page
