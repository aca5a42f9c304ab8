"""What AWS has added to the calls that we make is read before it is shipped.

Since 2026 CopyObject copies annotations unless told otherwise, and asks for two rights more; nothing of ours would
have noticed.
"""

from typing import Any

import botocore
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from milvus_vault.adapters.aws_errors import service_errors
from milvus_vault.adapters.s3 import CHECKSUMS, S3ObjectStore
from milvus_vault.errors import ServiceRequestError, ServiceUnavailableError, VaultError
from milvus_vault.model.objects import CopyItem, CopyJob
from tests.support.aws_model import installed_facts, made_calls, news, recorded_facts


def test_botocore_knows_nothing_that_nobody_has_read_about() -> None:
    found = news(recorded_facts(), installed_facts())

    assert not found, (
        f"botocore {botocore.__version__} has what is not in tests/data/aws_model.json. Read what it does, above all"
        " where we say nothing, then write it down by `python -m tests.support.aws_model`:\n" + "\n".join(found)
    )


def test_news_name_what_is_new_and_what_is_gone() -> None:
    recorded = {"s3.CopyObject": {"errors": ["A"], "input": ["Bucket", "Old"]}}
    installed = {
        "s3.CopyObject": {"errors": ["A", "B"], "input": ["Bucket", "New"], "input.New": ["COPY"]},
        "s3.RenameObject": {"errors": ["C"]},
    }

    assert news(recorded, installed) == [
        "s3.CopyObject, errors: B is new",
        "s3.CopyObject, input: New is new",
        "s3.CopyObject, input: Old is gone",
        "s3.CopyObject, input.New: COPY is new",
        "s3.RenameObject: the product did not make this call before",
    ]


def test_the_calls_are_found_in_the_code() -> None:
    calls = set(made_calls())

    assert {("s3", "CopyObject"), ("s3", "ListObjectsV2"), ("lambda", "Invoke"), ("sns", "Publish")} <= calls
    assert len(calls) > 25


@pytest.mark.parametrize("call", ["s3.CopyObject, output.CopyObjectResult", "s3.CompleteMultipartUpload, output"])
def test_every_checksum_that_a_copy_can_have_is_recorded(call: str) -> None:
    operation, path = call.split(", ")
    members = installed_facts()[operation][path]

    assert {f"Checksum{name}" for name in CHECKSUMS} == {
        name for name in members if name.startswith("Checksum") and name != "ChecksumType"
    }


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_a_copy_has_the_checksum_that_the_answer_names(monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    store = S3ObjectStore.connect()
    job = CopyJob(source_bucket="milvus", destination_bucket="backups")
    item = CopyItem("files/insert_log/1", "nightly/binlogs/insert_log/1", 7, "source")
    copied = {"ETag": '"made"', f"Checksum{algorithm}": "c3Vt", "ChecksumType": "FULL_OBJECT"}
    with Stubber(store.copier) as stub:
        stub.add_response("copy_object", {"CopyObjectResult": copied})

        assert store.copy(job, item).checksum == f"{algorithm}:c3Vt"


def test_every_directive_of_a_copy_that_takes_more_than_the_object_is_known() -> None:
    directives = {name for name in installed_facts()["s3.CopyObject"]["input"] if name.endswith("Directive")}

    # Metadata is copied: content type, and nothing that costs a right.
    assert directives == {"MetadataDirective", "TaggingDirective", "AnnotationDirective"}


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 400, ServiceUnavailableError),
        ("KMSThrottlingException", 400, ServiceUnavailableError),
        ("KmsThrottlingException", 400, ServiceUnavailableError),
        ("EC2ThrottledException", 400, ServiceUnavailableError),
        ("ExecutionLimitExceeded", 400, ServiceUnavailableError),
        ("ConflictException", 409, ServiceUnavailableError),
        ("InternalServiceError", 500, ServiceUnavailableError),
        ("KmsAccessDeniedException", 400, ServiceRequestError),
        ("ValidationException", 400, ServiceRequestError),
    ],
)
def test_errors_of_other_services_pass_or_do_not(code: str, status: int, error: type[VaultError]) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    with pytest.raises(error) as caught, service_errors("Step Functions"):
        raise ClientError(answer, "StartExecution")
    assert caught.value.hint
