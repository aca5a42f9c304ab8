"""Which parts of a target can be gone on with while the others are still copied."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.verify import LOOKS_A_TARGET, incomplete_targets
from milvus_vault.copying.working_files import CopyPart, CopyTarget, write_job, write_target
from milvus_vault.model.objects import CopyItem, CopyJob
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.copying.job import AN_HOUR, BACKUPS, SOURCE, Job

FOLDER = "staging/0/"


def prefixes(part: int) -> tuple[str, str]:
    """Return the two folders of a part."""
    return f"{FOLDER}insert/{part}/", f"{FOLDER}delta/{part}/"


def keys(part: int, size: int) -> list[str]:
    """Return the objects of a part, which lie in both folders."""
    return [f"{prefixes(part)[number % 2]}{number}" for number in range(size)]


def staging(sizes: Sequence[int], order: Iterable[int] | None = None, *, random_etags: bool = False) -> Job:
    """Return a job of one target with so many objects in each part, copied in an order of all or in theirs."""
    job = Job(InMemoryObjectStore(SOURCE, BACKUPS, has_random_etags=random_etags))
    write_job(job.run, job.attempt, CopyJob(source_bucket=SOURCE, destination_bucket=BACKUPS, lists_objects=False))
    items = []
    for key in (key for part, size in enumerate(sizes) for key in keys(part, size)):
        job.store.put(SOURCE, key, key.encode())
        items.append(CopyItem(key, key, len(key), job.store.get_with_etag(SOURCE, key)[1]))
    parts = tuple(CopyPart(prefixes=prefixes(part)) for part in range(len(sizes)))
    target = CopyTarget(index=0, name="default.c", folders=(FOLDER,), parts=parts)
    write_target(job.run, job.attempt, target, [items[number] for number in order or range(len(items))])
    job.plan()
    return job


def copy_one(job: Job, number: int) -> None:
    """Copy a batch of the first round, which has four objects."""
    name = f"copy/{job.attempt}/r1/batch-{number}.jsonl"
    copy_batch(job.run, name, threads=1, deadline_seconds_left=lambda: AN_HOUR)


def staged(job: Job) -> int | None:
    """Return how many parts can be gone on with, from the front, or None where all can."""
    return incomplete_targets(job.run, job.attempt, checked=set()).get(0)


def test_a_part_is_staged_as_soon_as_its_own_objects_are() -> None:
    job = staging([4, 2, 6, 3])
    told = []
    for number in range(4):
        copy_one(job, number)
        told.append(staged(job))
    assert told == [1, 2, 3, None]


def test_where_copies_have_etags_of_their_own_their_records_tell_the_same() -> None:
    job = staging([4, 4], random_etags=True)
    copy_one(job, 0)
    assert staged(job) == 1


def test_a_part_with_anything_else_in_it_is_not_staged_and_none_behind_it() -> None:
    job = staging([4, 4, 4])
    job.store.put(BACKUPS, f"{prefixes(0)[1]}surplus", b"?")
    copy_one(job, 0)
    copy_one(job, 1)
    assert staged(job) == 0


def test_a_target_of_many_parts_is_looked_at_some_ten_times_and_listed_once() -> None:
    job = staging([4] * 50)
    listed = Counter[str]()
    job.store.before = lambda operation, _, key: listed.update([key] if operation == "list_objects" else [])
    looks, told = 0, 0
    for number in range(49):
        copy_one(job, number)
        for _ in range(3):
            now = staged(job)
            assert now is not None
            looks += now > told
            told = now
    assert told >= 45
    assert looks <= LOOKS_A_TARGET
    of_parts = Counter({key: times for key, times in listed.items() if key.startswith(FOLDER)})
    assert of_parts == Counter(prefix for part in range(told) for prefix in prefixes(part))


def test_what_is_in_use_is_neither_deleted_nor_copied_again() -> None:
    job = staging([4, 4])
    copy_one(job, 0)
    assert staged(job) == 1
    surplus, again = f"{prefixes(0)[0]}surplus", keys(0, 4)[0]
    job.store.put(BACKUPS, surplus, b"?")
    job.store.put(BACKUPS, f"{prefixes(1)[0]}surplus", b"?")
    # As a late call of a batch that nobody heard of any more: the same content, under another ETag.
    job.store.delete(SOURCE, [again])
    job.store.put(BACKUPS, again, b"x" * len(again))
    found = job.verify()
    assert (found.again, found.deleted_count) == ((0,), 1)
    assert surplus in job.copied_bodies()
    assert job.plan(2).object_count == 4
    job.copy(2)
    assert job.verify(2).complete == (0,)
    assert {again, surplus} <= job.copied_bodies().keys()


@given(st.data(), st.booleans())
def test_whatever_is_called_staged_is_whole_and_alone_in_its_folders(data: st.DataObject, random_etags: bool) -> None:
    sizes = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    order = data.draw(st.permutations(range(sum(sizes))))
    job = staging(sizes, data.draw(st.sampled_from([order, None])), random_etags=random_etags)
    everything = [key for part, size in enumerate(sizes) for key in keys(part, size)]
    lost = data.draw(st.lists(st.sampled_from(everything), max_size=2)) if everything else []
    job.store.delete(SOURCE, lost)
    for part in data.draw(st.sets(st.integers(0, len(sizes) - 1), max_size=1)):
        job.store.put(BACKUPS, f"{prefixes(part)[0]}surplus", b"?")
    told = 0
    for number in data.draw(st.permutations(range((sum(sizes) + 3) // 4))):
        copy_one(job, number)
        now = staged(job)
        there = job.copied_bodies()
        assert now is None or now >= told
        told = len(sizes) if now is None else now
        for part, size in enumerate(sizes[:told]):
            assert {key for key in there if key.startswith(prefixes(part))} == set(keys(part, size))
