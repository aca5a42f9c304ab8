"""What a backup would take, an incremental one beside a full one."""

import pytest

from milvus_vault.archive.manifest import Source
from milvus_vault.archive.pool import PoolLayout, group_of
from milvus_vault.errors import WorkingFileError
from milvus_vault.inspection.collections import InspectedMilvus
from milvus_vault.inspection.estimate import estimate_backup
from milvus_vault.model.collections import CollectionLayout, CollectionSchema
from milvus_vault.model.objects import CopyItem, CopyJob
from milvus_vault.model.prices import GET_USD, REQUEST_USD
from milvus_vault.model.requests import BackupRequest
from milvus_vault.model.resources import Estimate
from milvus_vault.pool.sharing import Pool
from milvus_vault.source import MilvusStorage
from tests.support.memory_database import InMemoryDatabase
from tests.support.memory_store import InMemoryObjectStore

SOURCE, BACKUPS, PREFIX = "milvus", "backups", "nightly"
FROM = Source(milvus_version="v2.3.5", bucket=SOURCE, root_path="files")
INCREMENTAL = BackupRequest(mode="incremental")


class Shop:
    """A Milvus with two collections: `books` of 1,500 objects of 6 bytes, and `drafts` of 10."""

    def __init__(self) -> None:
        self.store = InMemoryObjectStore(SOURCE, BACKUPS)
        database = InMemoryDatabase()
        self.milvus = InspectedMilvus(database, self.store, MilvusStorage(SOURCE, "files"))
        self.numbers = {}
        for name, count in (("books", 1500), ("drafts", 10)):
            schema = CollectionSchema(name=name, fields=())
            layout = CollectionLayout(collection_schema=schema, shards=1, consistency_level=0)
            self.numbers[name] = database.create_collection("default", name, layout)
            database.insert_row("default", name, {}, {})
            database.flush("default", name, timeout_seconds=1)
            for log in range(count):
                self.write(name, log)

    def write(self, name: str, log: int) -> None:
        """Write an object of a collection's only segment."""
        number = self.numbers[name]
        self.store.put(SOURCE, f"files/insert_log/{number}/1/{number}/100/{log}", f"{log:06}".encode())

    def pool(self, attempt: str = "") -> Pool:
        return Pool(self.store, BACKUPS, PREFIX, FROM, attempt, ())

    def back_up(self) -> None:
        """Copy to the pool what it does not have."""
        job = CopyJob(source_bucket=SOURCE, destination_bucket=BACKUPS)
        for number in self.numbers.values():
            (name,) = (each for each, of in self.numbers.items() if of == number)
            segments = self.milvus.database.list_segments("default", name)
            for place in self.pool("aaaaaaaa").places(number, list(self.milvus.objects(number, segments))):
                if not place.shared:
                    item = CopyItem(place.listed.key, place.key, place.listed.size_bytes, place.listed.etag)
                    self.store.copy(job, item)

    def estimate(self) -> Estimate:
        return estimate_backup(self.milvus, INCREMENTAL, self.pool())


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_full_one_says_nothing_of_the_pool(shop: Shop) -> None:
    full = estimate_backup(shop.milvus, BackupRequest())
    assert (full.object_count, full.size_bytes, full.copy_requests, full.incremental) == (1510, 9060, 1510, None)
    assert estimate_backup(shop.milvus, BackupRequest(meta_only=True)).object_count == 0


def test_the_first_copies_everything_and_the_next_what_is_new(shop: Shop) -> None:
    first = shop.estimate()
    assert first.incremental is not None
    assert (first.incremental.copied_object_count, first.incremental.copied_size_bytes) == (1510, 9060)
    assert first.incremental.storage_cost_usd_per_month == first.storage_cost_usd_per_month

    shop.back_up()
    shop.write("drafts", 10)
    found = shop.estimate()
    assert found.object_count == 1511
    assert found.incremental is not None
    assert (found.incremental.copied_object_count, found.incremental.copied_size_bytes) == (1, 6)
    assert found.incremental.copy_requests == 1
    # The catalogue; in Milvus' bucket two pages and one, and one more for each folder of deletes; of the pool two and
    # one, and that one again after the copy.
    assert found.incremental.list_requests == 1 + (3 + 2) + (2 + 1) + 1
    assert found.incremental.get_requests == 30 + 2 + 2 * 3
    assert found.incremental.request_cost_usd == pytest.approx(11 * REQUEST_USD + 38 * GET_USD)
    assert found.incremental.request_cost_usd < 0.01 * found.request_cost_usd
    assert found.incremental.expected_seconds < found.expected_seconds


def test_an_unchanged_one_copies_nothing(shop: Shop) -> None:
    shop.back_up()
    found = shop.estimate().incremental
    assert found is not None
    assert (found.copied_object_count, found.copied_size_bytes, found.copy_requests) == (0, 0, 0)
    assert (found.list_requests, found.storage_cost_usd_per_month) == (1 + (3 + 2) + (2 + 1), 0)


def test_it_only_reads(shop: Shop) -> None:
    shop.back_up()
    shop.store.requests.clear()
    shop.estimate()
    assert {*shop.store.requests} == {"list_objects", "get"}


def test_what_is_about_to_be_deleted_has_to_be_known(shop: Shop) -> None:
    group = group_of(SOURCE, "files", shop.numbers["drafts"])
    shop.store.put(BACKUPS, PoolLayout(PREFIX).condemned(group), b"{")
    with pytest.raises(WorkingFileError, match="about to be deleted"):
        shop.estimate()
