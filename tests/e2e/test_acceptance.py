"""`milvus-vault acceptance` on the local stack: what an emulator can answer passes, and what not says why."""

import re

from local.stack import QUIET, LocalStack
from milvus_vault.acceptance.account import Account
from milvus_vault.acceptance.items import items
from milvus_vault.acceptance.redaction import names_of, redacted_report
from milvus_vault.acceptance.trying import CLEAN_UP, begin, conduct
from milvus_vault.client import VaultClient
from milvus_vault.client.discovery import local_door
from milvus_vault.model.names import ACCEPTANCE_PREFIX
from tests.support.milvus_data import collections_of

# What the parameters of this stack leave out, and not the emulator.
NOT_IN_THIS_STACK = {"vpc_endpoints", "encryption", "subscriptions", "kms_by_way_of_s3_only", "object_lock"}


def test_all_that_an_emulator_can_answer_passes_and_nothing_is_left(stack: LocalStack) -> None:
    # A stack of its own: no other's dead letters, and no other's runs among those that are counted.
    deployment = stack.deploy("acceptance", stack.milvus, QUIET)
    door = local_door(deployment.api_url, stack=deployment.stack_name, aws_url=stack.ministack.url)
    vault, account = VaultClient(door.url, door.caller), Account(door.caller.session, door.stack, door.aws_url)

    trial = begin(vault, account, may_write=True)
    report = conduct(trial)

    assert [one for one in report.items if one.verdict == "failed"] == []
    assert report.is_ok
    passed = {one.name for one in report.items if one.verdict == "passed"}
    foreseen = {one.name for one in items() if not (one.emulator or one.is_manual)} - NOT_IN_THIS_STACK
    assert passed == foreseen | {CLEAN_UP}
    assert all(one.evidence for one in report.items)

    assert list(vault.list_backups()) == []
    assert list(vault.list_schedules()) == []
    assert list(vault.list_runs(status="running")) == []
    assert not [name for name in collections_of(stack.milvus_uri) if ACCEPTANCE_PREFIX in name]
    left = account.keys(trial.bucket, trial.folder)
    assert not [
        key
        for key in left
        if trial.name in key and not key.startswith((f"{trial.folder}.runs/", f"{trial.folder}.catalogue/"))
    ]

    told = redacted_report(report, names_of(trial)).model_dump_json()
    for name in (trial.bucket, account.number, "127.0.0.1", trial.name):
        assert name not in told
    assert not re.search(r"arn:aws", told)
