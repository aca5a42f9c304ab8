"""Settings: what the environment must hold, and what is said where it does not."""

import pytest
from pydantic import ValidationError

from milvus_vault.errors import SettingsError
from milvus_vault.settings import CopySettings, MilvusSettings, Settings, StorageSettings

STORAGE = {
    "BACKUP_BUCKET_NAME": "backups",
    "MILVUS_BUCKET_NAME": "milvus",
    "MILVUS_ROOT_PATH": "files",
    "STAGING_PREFIX": "staging",
}
ALL: tuple[type[Settings], ...] = (StorageSettings, MilvusSettings, CopySettings)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the machine that runs the tests has set."""
    for settings in ALL:
        for name in settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment, with what storage needs."""
    for name, value in STORAGE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.usefixtures("environment")
def test_fields_are_read_from_variables_of_their_names() -> None:
    settings = StorageSettings.from_env()
    assert (settings.backup_bucket_name, settings.milvus_bucket_name) == ("backups", "milvus")
    assert settings.staging_prefix == "staging"


def test_every_variable_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        StorageSettings.from_env()
    assert all(f"{name}: is missing" in caught.value.message for name in STORAGE)
    assert "Deploy the stack again" in caught.value.hint


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_a_missing_one(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("MILVUS_BUCKET_NAME", value)
    with pytest.raises(SettingsError, match="MILVUS_BUCKET_NAME"):
        StorageSettings.from_env()


@pytest.mark.parametrize(
    ("given", "path"), [("", ""), ("/", ""), ("files/", "files"), ("/files", "files"), ("a/b/", "a/b")]
)
def test_the_root_path_may_be_empty_and_have_slashes(environment: pytest.MonkeyPatch, given: str, path: str) -> None:
    environment.setenv("MILVUS_ROOT_PATH", given)

    assert StorageSettings.from_env().milvus_root_path == path


def test_the_root_path_must_be_given_all_the_same(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("MILVUS_ROOT_PATH")

    with pytest.raises(SettingsError, match="MILVUS_ROOT_PATH: is missing"):
        StorageSettings.from_env()


def test_an_empty_variable_with_a_default_has_the_default(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILVUS_URI", "http://milvus:19530")
    environment.setenv("MILVUS_SECRET_ARN", "")
    environment.setenv("MILVUS_CONCURRENCY", "")
    settings = MilvusSettings.from_env()
    assert (settings.milvus_secret_arn, settings.milvus_concurrency) == ("", 8)


def test_blanks_around_a_value_are_dropped(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("BACKUP_PREFIX", " team/a\n")
    assert StorageSettings.from_env().backup_prefix == "team/a"


@pytest.mark.parametrize("value", ["0", "257", "many"])
def test_a_number_that_cannot_be_is_refused_by_its_name(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("COPY_THREADS", value)
    with pytest.raises(SettingsError, match="COPY_THREADS"):
        CopySettings.from_env()


def test_numbers_are_read_as_numbers(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("COPY_THREADS", "16")
    assert CopySettings.from_env().copy_threads == 16


def test_copying_has_defaults_for_everything() -> None:
    settings = CopySettings.from_env()
    assert (settings.copy_batch_objects, settings.copy_threads) == (1000, 64)
    assert settings.copy_batch_bytes == 53_687_091_200
    assert settings.copy_at_once_objects == 1000


def test_nothing_that_tells_where_data_is_has_a_default() -> None:
    required = {name for settings in ALL for name, field in settings.model_fields.items() if field.is_required()}
    assert required == {"backup_bucket_name", "milvus_bucket_name", "milvus_root_path", "staging_prefix", "milvus_uri"}


@pytest.mark.usefixtures("environment")
def test_settings_cannot_be_changed() -> None:
    settings = StorageSettings.from_env()
    for name in StorageSettings.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(settings, name, "other")


def test_other_variables_are_left_alone(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOME", "/nowhere")
    assert "home" not in StorageSettings.from_env().model_dump()
