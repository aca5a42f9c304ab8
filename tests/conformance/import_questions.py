"""How each kind of import ends: by REST and by gRPC, right and wrong. Each case has a collection of its own."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from pymilvus.grpc_gen import common_pb2

from tests.conformance.asking import (
    Fact,
    Message,
    Milvus,
    SetUpError,
    base_fields,
    field,
    numbers,
    plain,
    status,
    vectors,
)

type Pair = tuple[str, str]
type Files = Sequence[Sequence[str]]
type Import = Callable[..., Fact]

_PATIENCE_SECONDS = 120
_AT_A_TIME = 8
_ENDED = {"ImportCompleted", "ImportFailed", "ImportFailedAndCleaned"}
_STAGE = "conf-stage"
_NOWHERE = (f"{_STAGE}/none/1/2/", "")
_ROWS, _MORE_ROWS = 300, 500
_DELETED = 30


@dataclass(frozen=True)
class Staged:
    """Logs of a collection, copied beside the root as a restore copies them."""

    pairs: dict[str, Pair]
    """Insert and delta path of each partition."""
    inserts: str
    deltas: str
    options: dict[str, str]
    """What an import of them has to say beside `backup`."""


def _stage(milvus: Milvus, name: str, prefix: str) -> Staged:
    """Copy the logs of the segments that are listed now; others may hold the same rows."""
    number = milvus.must("DescribeCollection", collection_name=name).collectionID
    partitions = milvus.must("ShowPartitions", collection_name=name)
    infos = milvus.infos(name)
    live = {str(info.segmentID) for info in infos}
    for key in list(milvus.keys(f"{prefix}/")):
        milvus.s3.delete_object(Bucket=milvus.bucket, Key=key)
    for kind in ("insert_log", "delta_log"):
        for key in milvus.keys(f"{milvus.root}/{kind}/{number}/"):
            rest = key[len(milvus.root) + 1 :]
            if rest.split("/")[3] in live:
                source = f"{milvus.bucket}/{key}"
                milvus.s3.copy_object(Bucket=milvus.bucket, Key=f"{prefix}/{rest}", CopySource=source)
    inserts, deltas = f"{prefix}/insert_log/{number}/", f"{prefix}/delta_log/{number}/"
    named = zip(partitions.partition_names, partitions.partitionIDs, strict=True)
    return Staged(
        {found: (f"{inserts}{partition}/", f"{deltas}{partition}/") for found, partition in named},
        inserts,
        deltas,
        {"storage_version": "2"} if any(info.storage_version > 1 for info in infos) else {},
    )


class _Importer:
    """Imports by either way, and tells how it ended."""

    def __init__(self, milvus: Milvus, extra: dict[str, str]) -> None:
        self._milvus, self._extra = milvus, extra

    def _options(self, options: dict[str, str]) -> dict[str, str]:
        return options | (self._extra if "backup" in options else {})

    def rest(self, name: str, files: Files, partition: str | None = None, **options: str) -> Fact:
        """Import by a job of REST."""
        body = {"collectionName": name, "files": files, "options": self._options(options)}
        if partition is not None:
            body["partitionName"] = partition
        created = self._milvus.post("/v2/vectordb/jobs/import/create", body)
        if created.get("code") != 0:
            return {"create": plain(created)}
        job = {"jobId": created["data"]["jobId"]}
        path = "/v2/vectordb/jobs/import/get_progress"
        data = self._wait(
            lambda: self._milvus.post(path, job).get("data", {}),
            lambda found: found.get("state") in {"Completed", "Failed"},
        )
        return {
            "end": data["state"],
            "reason": plain(data.get("reason")),
            "importedRows": data.get("importedRows"),
            "totalRows": data.get("totalRows"),
            "progress": data.get("progress"),
            "progress_keys": sorted(data),
            "detail_keys": sorted({key for detail in data.get("details", []) for key in detail}),
        }

    def grpc(self, name: str, files: Files, partition: str | None = None, **options: str) -> Fact:
        """Import by a call, which knows no groups of paths."""
        answer = self._milvus.call(
            "Import",
            collection_name=name,
            partition_name=partition or "",
            files=[path for paths in files for path in paths],
            options=[{"key": key, "value": value} for key, value in self._options(options).items()],
        )
        if status(answer) != "OK":
            return {"create": status(answer)}
        state = common_pb2.ImportState.Name
        found = self._wait(
            lambda: self._milvus.must("GetImportState", task=answer.tasks[0]),
            lambda given: state(given.state) in _ENDED,
        )
        infos = {item.key: item.value for item in found.infos}
        return {
            "tasks": len(answer.tasks),
            "end": state(found.state),
            "row_count": found.row_count,
            "reason": plain(infos.get("failed_reason", "")),
            "info_keys": sorted(infos),
        }

    def _wait(self, ask: Callable[[], Any], has_ended: Callable[[Any], bool]) -> Any:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not has_ended(found := ask()):
            if time.monotonic() > end:
                msg = f"an import has not ended after {_PATIENCE_SECONDS} s: {found}"
                raise SetUpError(msg)
            time.sleep(self._milvus.poll_seconds)
        return found

    @property
    def ways(self) -> dict[str, Import]:
        """Return both ways, by name."""
        return {"rest": self.rest, "grpc": self.grpc}


def _source(milvus: Milvus) -> Staged:
    name = milvus.make("conf_src", *base_fields(), partitions=("p",))
    milvus.insert(name, range(_ROWS))
    milvus.insert(name, range(_ROWS, _MORE_ROWS), "p")
    milvus.flush(name)
    milvus.delete(name, range(_DELETED))
    milvus.flush(name)
    milvus.settle()
    return _stage(milvus, name, _STAGE)


_target_numbers = count()


def _target(milvus: Milvus, *more: Message, dim: int | None = None) -> str:
    fields = base_fields() if dim is None else [base_fields()[0], field("v", "FloatVector", dim=dim)]
    return milvus.make(f"conf_dst_{next(_target_numbers)}", *fields, *more, partitions=("p",))


def _cases(staged: Staged) -> dict[str, tuple[Files, str | None, dict[str, str]]]:
    """Return files, partition and options of each case."""
    (insert, delta), other = staged.pairs["_default"], staged.pairs["p"]
    backup, deletes = {"backup": "true"}, {"l0_import": "true"}
    everywhere = f"{staged.deltas}-1/"
    return {
        "insert and delta": ([[insert, delta]], "_default", backup),
        "no delta path": ([[insert, ""]], "_default", backup),
        "delta path without objects": ([[insert, f"{_STAGE}/nothing/"]], "_default", backup),
        "insert path only": ([[insert]], "_default", backup),
        "no partition named": ([[insert, delta]], None, backup),
        "unknown partition": ([[insert, delta]], "nope", backup),
        "path that is not there": ([_NOWHERE], "_default", backup),
        "no backup option": ([[insert, delta]], "_default", {}),
        "no slash at the end": ([[insert.rstrip("/"), delta.rstrip("/")]], "_default", backup),
        "whole collection path": ([[staged.inserts, staged.deltas]], "_default", backup),
        "l0 of the partition": ([[delta]], "_default", deletes),
        "l0 of the collection": ([[everywhere]], None, deletes),
        "l0, two paths": ([[everywhere], [delta]], None, deletes),
        "l0 with backup": ([[everywhere]], "_default", backup | deletes),
        "l0 path that is not there": ([[f"{_STAGE}/none/"]], None, deletes),
        "two pairs": ([[insert, delta], other], "_default", backup),
        "two pairs, one not there": ([[insert, delta], _NOWHERE], "_default", backup),
        "unknown option": ([[insert, delta]], "_default", backup | {"nonsense": "1"}),
    }


def importing(milvus: Milvus) -> dict[str, Fact]:
    """Return of each case how the import ended, and how many rows the server counts then."""
    staged = _source(milvus)
    importer = _Importer(milvus, staged.options)
    # Jobs wait for most of their time, so many are waited for at once.
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        asked = {
            (way, label): pool.submit(work, milvus, start, staged)
            for way, start in importer.ways.items()
            for label, work in _works(staged).items()
        }
        facts: dict[str, Fact] = {"rest": {}, "grpc": {}}
        for (way, label), answer in asked.items():
            facts[way][label] = answer.result()
    return facts


type _Work = Callable[[Milvus, Import, Staged], Fact]


def _works(staged: Staged) -> dict[str, _Work]:
    def plainly(files: Files, partition: str | None, options: dict[str, str]) -> _Work:
        def ask(milvus: Milvus, start: Import, _: Staged) -> Fact:
            name = _target(milvus)
            return [start(name, files, partition, **options), milvus.count(name)]

        return ask

    works = {label: plainly(*case) for label, case in _cases(staged).items()}
    works |= {"same files twice": _twice, "one field more": _one_field_more, "missing collection": _no_collection}
    # The files of storage version 2 that there were to ask with came from a writer other than Milvus' own.
    return works if staged.options else works | {"other dim": _other_dimension}


def _default(start: Import, name: str, staged: Staged) -> Fact:
    return start(name, [staged.pairs["_default"]], "_default", backup="true")


def _twice(milvus: Milvus, start: Import, staged: Staged) -> Fact:
    name = _target(milvus)
    _default(start, name, staged)
    return [_default(start, name, staged), milvus.count(name)]


def _other_dimension(milvus: Milvus, start: Import, staged: Staged) -> Fact:
    name = _target(milvus, dim=8)
    return [_default(start, name, staged), milvus.count(name)]


def _one_field_more(milvus: Milvus, start: Import, staged: Staged) -> Fact:
    name = _target(milvus, field("more", "Int64"))
    return [_default(start, name, staged), milvus.count(name)]


def _no_collection(_: Milvus, start: Import, staged: Staged) -> Fact:
    return _default(start, "conf_none", staged)


def import_shapes(milvus: Milvus) -> dict[str, Fact]:
    """Ask for imports into collections with a partition key, with an auto ID, with an index."""
    facts = _partition_key(milvus) | _auto_id(milvus)
    staged = _source(milvus)
    name = _target(milvus)
    index = {"index_type": "FLAT", "metric_type": "L2", "params": "{}"}
    params = [{"key": key, "value": value} for key, value in index.items()]
    milvus.must("CreateIndex", collection_name=name, field_name="v", extra_params=params)
    answer = _default(_Importer(milvus, staged.options).rest, name, staged)
    facts["indexed before the import"] = {"rest": answer}
    return facts


def _partition_key(milvus: Milvus) -> dict[str, Fact]:
    fields = [*base_fields(), field("k", "Int64", is_partition_key=True)]
    milvus.make("conf_pk", *fields, num_partitions=2)
    milvus.insert("conf_pk", range(200), extra=[numbers("k", (row % 7 for row in range(200)))])
    milvus.flush("conf_pk")
    milvus.settle()
    staged = _stage(milvus, "conf_pk", f"{_STAGE}-pk")
    importer = _Importer(milvus, staged.options)
    facts: dict[str, Fact] = {}
    for label, partition in (("named", "_default_0"), ("none named", None)):
        answers: dict[str, Fact] = {}
        for way, start in importer.ways.items():
            milvus.make("conf_pk2", *fields, num_partitions=2)
            answers[way] = start("conf_pk2", [staged.pairs["_default_0"]], partition, backup="true")
            answers.setdefault("rows", milvus.count("conf_pk2"))
        facts[f"partition key, {'partition named' if partition else label}"] = answers
    return facts


def _auto_id(milvus: Milvus) -> dict[str, Fact]:
    fields = [field("id", "Int64", is_primary_key=True, autoID=True), base_fields()[1]]
    milvus.make("conf_auto", *fields)
    milvus.must("Insert", collection_name="conf_auto", num_rows=50, fields_data=[vectors("v", 50)])
    milvus.flush("conf_auto")
    milvus.settle()
    staged = _stage(milvus, "conf_auto", f"{_STAGE}-auto")
    milvus.make("conf_auto2", *fields)
    ways = _Importer(milvus, staged.options).ways
    answers: dict[str, Fact] = {way: _default(start, "conf_auto2", staged) for way, start in ways.items()}
    return {"auto id": answers | {"rows": milvus.count("conf_auto2")}}
