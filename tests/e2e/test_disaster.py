"""docs/disaster.md, command by command: a fresh stack and an empty Milvus, and of all that was only the bucket."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CopySourceTypeDef

from local.milvus import Milvus
from local.stack import Deployment, LocalStack
from milvus_vault.archive.layout import BackupLayout
from tests.support import library, vault_runs
from tests.support.tampering import StoredBackup
from tests.support.terminal import REPOSITORY

DATABASE = "disaster_books"
LEFT = "our-archive"
BLOCKS = re.findall(
    r"^```bash\n(.*?)^```$", (REPOSITORY / "docs" / "disaster.md").read_text(), re.DOTALL | re.MULTILINE
)

# What stands in for the programs. The server of these tests is older than those of the version matrix.
PROGRAMS = """
milvus-vault() { [ "$1" = restore ] && set -- "$@" --allow-version; "$PYTHON" -m milvus_vault.cli.main "$@"; }
sam() { printf '%s\\n' "$@" > "$SAM_ARGUMENTS"; }
"""


@dataclass
class Reader:
    """Somebody who types what the document says, one block after another, in one shell."""

    folder: Path
    api_url: str = ""

    def type(self, block: str) -> str:
        """Run a block, with the variables of those before it, and return what it wrote."""
        state = self.folder / "variables"
        known = f". {state}\n" if state.exists() else ""
        done = subprocess.run(
            ["bash", "-c", f"set -eua\n{PROGRAMS}{known}{block}\nexport -p > {state}\n"],
            env={"PATH": os.environ["PATH"], "PYTHON": sys.executable, "SAM_ARGUMENTS": str(self.sam_arguments)}
            | {"PYTHONPATH": str(REPOSITORY / "layers" / "shared"), "HOME": str(self.folder), "COLUMNS": "200"}
            | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
            | ({"MILVUS_VAULT_URL": self.api_url} if self.api_url else {}),
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    @property
    def sam_arguments(self) -> Path:
        """Where the arguments of the deployment are written down."""
        return self.folder / "sam"


def block_with(text: str) -> str:
    """Return the block of the document that has a text."""
    found: str
    (found,) = (block for block in BLOCKS if text in block)
    return found


@pytest.fixture(scope="module")
def contents(stack: LocalStack) -> Iterator[library.Contents]:
    """Make backups of each kind, and let of all that the stack has written only a bucket be left."""
    found = vault_runs.back_up_library(stack, stack.milvus_uri, DATABASE)
    library.drop(stack.milvus_uri, DATABASE)
    _save(stack)
    yield found
    vault_runs.succeed(stack, "Prune", {"backup_names": ["night_1", "night_2", "weekly"]})


def _save(stack: LocalStack) -> None:
    """Copy backups and pool to another bucket: one in parts, as large objects are, and one without its marker."""
    s3, bucket, prefix = stack.client("s3"), stack.outputs["BackupBucketName"], stack.outputs["BackupPrefix"]
    s3.create_bucket(Bucket=LEFT)
    for folder in ("night_1", "night_2", "weekly", ".pool"):
        for key in vault_runs.listing(stack, bucket, f"{prefix}/{folder}/"):
            if key == BackupLayout(prefix, "night_1").marker or "/.pool/." in key:
                continue
            source: CopySourceTypeDef = {"Bucket": bucket, "Key": key}
            if not key.startswith(BackupLayout(prefix, "weekly").binlogs):
                s3.copy_object(Bucket=LEFT, Key=key, CopySource=source)
                continue
            upload = s3.create_multipart_upload(Bucket=LEFT, Key=key)["UploadId"]
            part = s3.upload_part_copy(Bucket=LEFT, Key=key, UploadId=upload, PartNumber=1, CopySource=source)
            whole: CompletedPartTypeDef = {"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}
            s3.complete_multipart_upload(Bucket=LEFT, Key=key, UploadId=upload, MultipartUpload={"Parts": [whole]})


@pytest.fixture(scope="module")
def empty(stack: LocalStack) -> Milvus:
    """Start a Milvus that has nothing."""
    return stack.add_milvus("milvus-of-rescue", "files")


@pytest.fixture(scope="module")
def reader(
    stack: LocalStack, contents: library.Contents, empty: Milvus, tmp_path_factory: pytest.TempPathFactory
) -> Reader:
    """Deploy a fresh stack, as the document says, on the bucket that is left."""
    assert contents
    somebody = Reader(tmp_path_factory.mktemp("reader"))
    block = block_with("sam deploy")
    for said, here in (
        ("=http://milvus.internal:19530", f"={empty.uri}"),
        ("MILVUS_BUCKET=milvus-bucket", f"MILVUS_BUCKET={empty.bucket}"),
        ("MILVUS_ROOT_PATH=files", f"MILVUS_ROOT_PATH={empty.root_path}"),
    ):
        assert said in block
        block = block.replace(said, here)
    somebody.type(block)
    arguments = somebody.sam_arguments.read_text().splitlines()
    given = arguments[arguments.index("--parameter-overrides") + 1 :]
    parameters = dict(parameter.split("=", 1) for parameter in given)
    assert parameters["BackupBucketName"] == LEFT
    deployed: Deployment = stack.deploy(arguments[arguments.index("--stack-name") + 1], empty, parameters)
    somebody.api_url = deployed.api_url
    return somebody


def test_all_of_it_is_listed_verified_and_restored(reader: Reader, contents: library.Contents, empty: Milvus) -> None:
    listed = reader.type(block_with("milvus-vault list")).splitlines()
    assert {name for line in listed for name in ("night_1", "night_2", "weekly") if name in line} == {
        "night_1", "night_2", "weekly",
    }  # fmt: skip
    assert any("night_1" in line and "lost its marker" in line for line in listed)

    reader.type(block_with('milvus-vault restore "$NAME"'))

    assert library.look(empty.uri, DATABASE) == contents
    library.drop(empty.uri, DATABASE)


def test_what_is_lost_of_a_backup_is_made_anew(stack: LocalStack, reader: Reader) -> None:
    told = reader.type(block_with("milvus-vault repair night_1"))
    assert "night_1" in told
    repaired = Deployment(stack.ministack, stack.milvus, "", {"BackupBucketName": LEFT, "BackupPrefix": "milvus-vault"})
    assert StoredBackup(repaired, "night_1").manifest.is_incremental
    reader.type("milvus-vault verify night_1 --wait")


def test_a_copy_with_other_etags_is_known_again(reader: Reader, contents: library.Contents, empty: Milvus) -> None:
    with pytest.raises(AssertionError, match="BackupDamagedError"):
        reader.type("milvus-vault verify weekly --wait")

    reader.type(block_with("milvus-vault repair weekly"))

    reader.type("milvus-vault restore weekly --wait")
    assert library.look(empty.uri, DATABASE) == contents


def test_nothing_is_deleted_unless_somebody_asks(reader: Reader) -> None:
    reader.type(block_with("milvus-vault prune"))
    listed = reader.type("milvus-vault --output json list")
    assert listed.count('"name"') >= 3


def test_each_command_of_the_document_was_run() -> None:
    """Whoever adds a block adds what runs it: the tests above name all that there are."""
    told = ("sam deploy", "milvus-vault list", 'milvus-vault restore "$NAME"')
    lost = ("milvus-vault repair night_1", "milvus-vault repair weekly", "milvus-vault prune")
    assert [block_with(text) for text in (*told, *lost)] == BLOCKS
