"""The plan of a restore: it refuses what the restore refuses, by the same error, and tells what the restore does."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from inspect_milvus.handler import handler as inspect_milvus
from pydantic import ValidationError

from milvus_vault.errors import BucketNotLockableError, VaultError
from milvus_vault.inspection import restore_plan
from milvus_vault.model.requests import RestoreRequest
from tests.conformance.asking import base_fields
from tests.restore.conftest import Deploy
from tests.restore.servers import Filled, Servers
from tests.support.golden_rows import GOLDEN
from tests.support.importing import jobs
from tests.support.restoring import PREFIX, STAGING

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

type Json = dict[str, Any]

EXAMPLES = 150
ARCHIVE = "golden_2_4"
VERSIONS = ("2.3.5", "2.6.19")

# What may be asked for beside a suffix of new names; the later ones go before the earlier ones.
_TWISTS: tuple[Json, ...] = (
    *({"backup_name": name} for name in ("rotten", "rotten", "foreign", "nowhere")),
    *(
        {"collections": chosen}
        for chosen in (
            ["default.books"],
            ["default.plain"],
            ["default.*"],
            ["gold.layers"],
            ["default.nope"],
            ["nope.*", "default.pens"],
        )
    ),
    *({"suffix": suffix} for suffix in ("_there", "_alias", "_like", "", "x" * 128)),
    *(
        {"suffix": "", "rename": renamed}
        for renamed in (
            {"default.books": "other.books", "default.pens": "other.pens", "default.plain": "other.plain"},
            {"default.*": "other.*"},
            {"default.books": "default.pens"},
            {"default.plain": "default.plain_like", "default.books": "default.b", "default.pens": "default.p"},
            {"default.nope": "default.yes"},
            {"default.books": "default.my-books"},
        )
    ),
    *({flag: True} for flag in ("drop_existing", "skip_create", "meta_only", "skip_damaged", "rbac", "switch_aliases")),
    *({flag: False} for flag in ("restore_aliases", "load", "point_in_time", "allow_version")),
    {"restore_index": False, "load": False},
    {"skip_create": True, "suffix": "_like", "collections": ["default.plain"]},
    {"drop_existing": True, "suffix": ""},
    {"drop_existing": True, "suffix": "", "skip_damaged": True, "backup_name": "rotten"},
    *({"as_of": f"{year}-01-01T00:00:00Z"} for year in (2020, 2090, 2090)),
    *({"partitions": {"default.books": [one]}} for one in ("p", "_default", "q")),
    {"partitions": {"default.nope": ["p"]}},
    *({"replicas": wanted} for wanted in (1, 2, 9, {"default.books": 2}, {"default.nope": 1})),
    *({"resource_groups": groups} for groups in ({"*": "nobody"}, {"old": "new"})),
    *({"verify": level} for level in ("quick", "checksum", "deep")),
    *({"max_shards": shards} for shards in (1, 3)),
)


def _is_a_request(asked: Json) -> bool:
    """Return whether the model takes it: what that refuses comes to neither."""
    try:
        RestoreRequest.model_validate(asked)
    except ValidationError:
        return False
    return True


_REQUESTS = (
    st.lists(st.sampled_from(_TWISTS), max_size=3)
    .map(lambda twists: reduce(or_, twists, {"backup_name": "sound", "suffix": "_new", "allow_version": True}))
    .filter(_is_a_request)
)


class Deployment:
    """A server with the backups, and names that are taken."""

    def __init__(self, filled: Filled) -> None:
        self.filled, self.restoring = filled, filled.restoring
        self.names = {"sound": filled.backup, "rotten": f"{filled.backup}_rotten", "foreign": ARCHIVE}
        self.restoring.upload(GOLDEN / ARCHIVE)
        self.restoring.back_up(self.names["rotten"])
        key = next(key for key in self._keys(self.restoring.backups, self.names["rotten"]) if "/insert_log/" in key)
        self.restoring.s3.delete_object(Bucket=self.restoring.backups, Key=key)
        milvus = filled.milvus
        for name in ("pens_there", "plain_like"):
            milvus.make(name, *base_fields())
        milvus.insert("pens_there", range(3))
        milvus.flush("pens_there")
        milvus.must("CreateAlias", collection_name="pens_there", alias="books_alias")

    def _keys(self, bucket: str, folder: str) -> list[str]:
        pages = self.restoring.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", []) if folder in one["Key"]]

    def everything(self) -> list[object]:
        """Return all that a plan must leave as it is."""
        databases = self.restoring.server.core.catalog.databases.values()
        # Milvus compacts by itself, in its bucket as well.
        there = [one.collection_id for database in databases for one in database.collections.values()]
        return [there, self._keys(self.restoring.backups, ""), self._keys(self.restoring.server.bucket, STAGING)]

    def plan(self, request: Json) -> Json:
        """Return the plan of a restore, or as `refusal` what would be refused."""
        with self.restoring.functions() as call:
            try:
                found: Json = call(inspect_milvus, {"inspection": "plan", "restore": request})["found"]
            except VaultError as err:
                return {"refusal": (type(err).__name__, err.message, err.hint)}
        if found["refused"]:
            first = found["refused"][0]
            return {"refusal": (first["error"], first["message"], first["hint"])}
        planned: Json = found["plan"]
        return planned

    @contextmanager
    def prepared(self, request: Json) -> Iterator[Json]:
        """Yield the same of a restore that is prepared, from what it has written down; and forget it then."""
        execution = {"arn": "arn:aws:states:us-east-1:1:execution:restore:one", "started_at": "2026-01-01T00:00:00Z"}
        try:
            with self.restoring.functions():
                try:
                    told = self.restoring.prepare(execution, request)
                except VaultError as err:
                    yield {"refusal": (type(err).__name__, err.message, err.hint)}
                    return
            yield self._written(told["run"])
        finally:
            for bucket, folder in (
                (self.restoring.backups, "/.runs/restore-"),
                (self.restoring.server.bucket, STAGING),
            ):
                for key in self._keys(bucket, folder):
                    self.restoring.s3.delete_object(Bucket=bucket, Key=key)

    def _written(self, run: str) -> Json:
        """Return what a plan says of a restore, by its working files."""
        folder = f"{PREFIX}/.runs/{run}/"
        plan = json.loads(self._body(folder + "restore.json"))
        copies: dict[int, Json] = {}
        for key in self._keys(self.restoring.backups, folder):
            if "/copy/" in key and "/targets/" in key:
                items = self._body(key.replace("/targets/", "/items/").replace(".json", ".jsonl"))
                copies[int(key.rpartition("/")[2].removesuffix(".json"))] = {
                    **json.loads(self._body(key)),
                    "count": len(items.splitlines()),
                }
        collections = []
        for index, target in enumerate(plan["targets"]):
            made = json.loads(self._body(f"{folder}collections/{index}/target.json"))
            copied = copies.get(index, {"count": 0, "size_bytes": 0})
            collections.append(
                {
                    "source": f"{made['source']['database']}.{made['source']['name']}",
                    "target": f"{target['database']}.{target['name']}",
                    "is_replaced": made["replaces"] is not None,
                    "row_count": plan["row_counts"][index],
                    "live_row_count": made["live_row_count"],
                    "object_count": copied["count"],
                    "size_bytes": copied["size_bytes"],
                    "import_jobs": sum(len(source["pairs"]) for source in (*made["imports"], *made["deletes"])),
                }
            )
        return {"warnings": plan["warnings"], "collections": collections}

    def _body(self, key: str) -> bytes:
        return self.restoring.s3.get_object(Bucket=self.restoring.backups, Key=key)["Body"].read()


@pytest.fixture(scope="module")
def deployments(servers: Servers) -> Callable[[str], Deployment]:
    """Deployments by version, each made once."""
    made: dict[str, Deployment] = {}

    def of(version: str) -> Deployment:
        if version not in made:
            made[version] = Deployment(servers.filled(version))
        return made[version]

    return of


# What `_written` tells of a collection.
_OF_BOTH = (
    *("source", "target", "is_replaced", "row_count", "live_row_count"),
    *("object_count", "size_bytes", "import_jobs"),
)


def told_of_both(planned: Json) -> Json:
    """Return of a plan what a restore has written down as well."""
    if "refusal" in planned:
        return planned
    collections = [{field: one[field] for field in _OF_BOTH} for one in planned["collections"]]
    # Of aliases a restore tells when a collection is whole (test_aliases.py).
    warnings = [warning for warning in planned["warnings"] if not warning.startswith("Alias ")]
    return {"warnings": warnings, "collections": collections}


@pytest.mark.parametrize("version", VERSIONS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(asked=_REQUESTS)
def test_a_plan_and_a_restore_say_the_same(deployments: Callable[[str], Deployment], version: str, asked: Json) -> None:
    deployment = deployments(version)
    request = {**asked, "backup_name": deployment.names.get(asked["backup_name"], "nowhere")}
    before = deployment.everything()
    planned = deployment.plan(request)
    assert deployment.everything() == before
    event(f"{version}: {planned['refusal'][0] if 'refusal' in planned else 'planned'}")
    with deployment.prepared(request) as written:
        assert told_of_both(planned) == written


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restore_imports_by_as_many_jobs_as_its_plan_said(
    deployments: Callable[[str], Deployment], version: str
) -> None:
    deployment = deployments(version)
    request = {"backup_name": deployment.names["sound"], "suffix": "_whole", "allow_version": True}
    planned = deployment.plan(request)
    before = len(jobs(deployment.restoring))
    report = deployment.restoring.restore(request)
    assert len(jobs(deployment.restoring)) - before == planned["import_jobs"]
    assert sum(one["imported_row_count"] for one in report["collections"]) == planned["row_count"]
    assert [one["target"]["name"] for one in report["collections"]] == [
        one["target"].removeprefix("default.") for one in planned["collections"]
    ]
    # The names are taken now.
    assert deployment.plan(request)["refusal"][0] == "CollectionExistsError"


def test_a_time_after_the_moment_is_refused_at_once_and_one_before_the_first_row_is_left_to_the_logs(
    deployments: Callable[[str], Deployment],
) -> None:
    deployment = deployments(VERSIONS[-1])
    request = {"backup_name": deployment.names["sound"], "suffix": "_then"}
    late = {**request, "as_of": "2090-01-01T00:00:00Z"}
    refused = deployment.plan(late)["refusal"]
    assert refused[0] == "MomentOutOfRangeError"
    with deployment.prepared(late) as written:
        assert written["refusal"] == refused
    early = deployment.plan({**request, "as_of": "2020-01-01T00:00:00Z"})
    assert any("Whether the chosen time is before the first row" in left for left in early["left_to_run"])


@pytest.mark.parametrize("most", ["MOST_OBJECTS", "MOST_COLLECTIONS"])
def test_of_too_much_nothing_is_listed_and_the_plan_says_so(
    deployments: Callable[[str], Deployment], monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    deployment = deployments(VERSIONS[-1])
    request = {"backup_name": deployment.names["sound"], "suffix": "_new"}
    listed = deployment.plan(request)
    monkeypatch.setattr(restore_plan, most, 2)
    planned = deployment.plan(request)
    assert (planned["row_count"], planned["collection_count"]) == (listed["row_count"], listed["collection_count"])
    assert [planned[field] for field in ("object_count", "size_bytes", "import_jobs")] == [None] * 3
    assert listed["left_to_run"] == []
    assert "nothing is listed for a plan" in planned["left_to_run"][0]
    # What only a listing shows, the restore refuses.
    rotten = {"backup_name": deployment.names["rotten"], "suffix": "_new"}
    assert "refusal" not in deployment.plan(rotten)


def test_what_a_run_tries_a_plan_says_that_it_has_not(deploy: Deploy) -> None:
    restoring = deploy("2.6.19")
    restoring.upload(GOLDEN / ARCHIVE)
    with restoring.functions() as call:
        found = call(inspect_milvus, {"inspection": "plan", "restore": {"backup_name": ARCHIVE}})["found"]
    told = found["plan"]["left_to_run"]
    assert found["refused"] == []
    assert "The target holds no rows yet" in told[0]
    assert "are looked at before anything is staged" in told[1]
    assert restoring.server.core.catalog.databases["default"].collections == {}


def test_what_a_backup_is_refused_for_is_found_with_its_selection(deploy: Deploy) -> None:
    restoring = deploy("2.6.19")
    restoring.upload(GOLDEN / ARCHIVE)
    locked = {"inspection": "selection", "backup": {"lock": {"days": 3}}}
    with restoring.functions() as call:
        with pytest.raises(BucketNotLockableError):
            call(inspect_milvus, locked)
        assert call(inspect_milvus, {"inspection": "selection"})["found"] == {"collection_count": 0}
