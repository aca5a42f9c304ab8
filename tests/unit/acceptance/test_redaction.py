"""What is sent to somebody else has no account, ARN, bucket, host or user in it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.acceptance.redaction import names_of, redacted, redacted_report
from milvus_vault.acceptance.trial import Trial
from milvus_vault.acceptance.trying import conduct
from tests.unit.acceptance.conftest import NUMBER

WORDS = st.text(string.ascii_lowercase + " ;,.()'\"", max_size=40)
ACCOUNTS = st.text(string.digits, min_size=12, max_size=12)
NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=3, max_size=30).map(lambda text: f"x{text}z")
ARNS = st.builds(lambda account, name: f"arn:aws:iam::{account}:role/{name}", ACCOUNTS, NAMES)
HOSTS = st.one_of(
    st.builds(lambda name: f"https://{name}.execute-api.eu-west-1.amazonaws.com/v1", NAMES),
    st.builds(lambda name: f"{name}.amazonaws.com", NAMES),
    st.ip_addresses(v=4).map(str),
)
USERS = st.builds(lambda name, host: f"{name}@{host}.example.org", NAMES, NAMES)


@given(WORDS, st.one_of(ACCOUNTS, ARNS, HOSTS, USERS), WORDS)
def test_what_looks_like_a_secret_is_not_told(before: str, hidden: str, after: str) -> None:
    assert hidden not in redacted(f"{before} {hidden} {after}", [])


@given(WORDS, st.lists(NAMES, min_size=1, max_size=5), WORDS, st.sampled_from(["/", "_", "'", " ", ".", ""]))
def test_a_name_that_is_known_is_not_told_however_it_is_joined(
    before: str, names: list[str], after: str, joint: str
) -> None:
    text = redacted(before + joint.join(names) + after, names)
    # Where the words happen to make the name anew, it is none.
    assert not any(name in text for name in names if name not in before + after)


@given(NAMES, NAMES, ACCOUNTS)
def test_a_bucket_in_an_address_and_an_account_in_an_arn_are_not_told(bucket: str, key: str, account: str) -> None:
    text = redacted(f"s3://{bucket}/{key} of arn:aws:s3:::{bucket}/{key}, {account}", [])
    assert not {bucket, key, account} & set(text.replace("/", " ").split())


@pytest.mark.parametrize("host", ["milvus:19530", "milvus.internal:19530", "milvus-1.prod.example.org:443"])
def test_a_host_without_a_scheme_is_not_told(host: str) -> None:
    assert redacted(f"cannot reach {host} from here", []) == "cannot reach <host> from here"


def test_neither_part_of_a_collection_s_name_is_told(trial: Trial) -> None:
    trial.selected = "shop.orders"
    assert redacted("'orders' of database shop: shop.orders", names_of(trial)) == (
        "'<name>' of database <name>: <name>"
    )


def test_a_report_has_no_name_of_the_stack_and_keeps_what_was_found(trial: Trial) -> None:
    names = names_of(trial)
    assert {"vault-PlanCopyFunction", "backups", "milvus", NUMBER, "Admin", "alice"} <= names
    report = conduct(trial)
    bad = report.items[0].model_copy(
        update={"evidence": "alice of 123456789012 may not read backups", "hint": "vault-Api"}
    )
    told = redacted_report(report.model_copy(update={"items": (bad, *report.items[1:])}), names)
    assert told.items[0].evidence == "<name> of <name> may not read <name>"
    for name in names - {"milvus", "files", "staging", "vault", "milvus-vault"}:
        assert not any(name in f"{one.evidence} {one.hint}" for one in told.items)
    assert [one.verdict for one in told.items] == [one.verdict for one in report.items]
