"""Keys of logs, read back into numbers."""

import pytest

from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, LogKey, parse_log_key


@pytest.mark.parametrize("root", ["", "files/", "a/insert_log/b/"])
def test_the_keys_of_logs_are_understood_below_any_root(root: str) -> None:
    assert parse_log_key(f"{root}insert_log/1/2/3/4/5") == LogKey(INSERT_LOG, 1, 2, 3, 4, 5)
    assert parse_log_key(f"{root}delta_log/1/-1/3/5") == LogKey(DELTA_LOG, 1, -1, 3, 0, 5)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "files/stats_log/1/2/3/4/5",
        "files/insert_log/1/2/3/4",
        "files/insert_log/1/2/3/4/5/6",
        "files/delta_log/1/2/3/4/5",
        "files/insert_log/1/2/3/4/5.parquet",
        "files/my_insert_log/1/2/3/4/5",
        "files/insert_log/1/2/3/x/5",
    ],
)
def test_other_keys_are_none_of_a_log(key: str) -> None:
    assert parse_log_key(key) is None
