"""Where exports and copies may lie, beside the deployment's own backups."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from milvus_vault.archive.layout import DATASETS_FOLDER, join
from milvus_vault.errors import InvalidRequestError
from milvus_vault.model.base import Model
from milvus_vault.model.names import backup_run
from milvus_vault.model.requests import ExportPlace, ExportRequest
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace

_READ = "docs/operations.md has the rights of both sides, under *Another Region, account or key*."


class Place(Model):
    """A bucket, and the prefix there below which backups lie."""

    bucket: str
    prefix: str

    @property
    def folder(self) -> str:
        """Return it as people are told of it."""
        return f"s3://{self.bucket}/{self.prefix}"

    def run_of(self, run: Workspace, backup_name: str) -> Workspace:
        """Return the run that would make a backup of a name there, with the store of another run."""
        return replace(run, bucket=self.bucket, prefix=self.prefix, run=backup_run(backup_name))


@dataclass(frozen=True, slots=True)
class ExportPlaces:
    """The other places to which a deployment may export, and what exports have to keep away from."""

    own: Place
    """Where its backups lie."""
    milvus: MilvusStorage
    staging_prefix: str
    bucket: str
    """A bucket beside the backup bucket; empty: none."""
    prefix: str
    """The folder of both in which exports to another place lie."""
    own_region: str = ""
    """Where the deployment is, and its backup bucket; empty: nobody knows."""
    region: str = ""
    """Of the other bucket; empty: where the deployment is."""
    role_arn: str = ""
    """The role by which the other bucket is reached; empty: each function's own."""
    kms_key_arn: str = ""
    """The key under which objects are written there; empty: as the bucket says."""

    def check_copy(self, backup_name: str, to: ExportPlace | None) -> None:
        """Return if a backup that is to be made may be copied there, or is not to be. Raises as `find`."""
        if to is not None:
            self.find(ExportRequest.copy_of(backup_name, to), field="copy_to")

    def find(self, request: ExportRequest, field: str = "to") -> Place | None:
        """Return the other place in which an export is to lie; None: it is to lie beside the other backups.

        Raises `InvalidRequestError` for a place to which this deployment may not export, and for one where its folder
        would be within, or around, what is the deployment's own or Milvus'. Its message names the field that says
        where to.
        """
        if request.to is None:
            return None
        # A copy is for where the backups are not; an export is as a rule for those who read the backup bucket.
        default = (self.bucket if request.is_copy else "") or self.own.bucket
        place = Place(bucket=request.to.bucket or default, prefix=request.to.prefix or join(self.prefix))
        if place.bucket not in {self.own.bucket, self.bucket}:
            msg = f"`{field}`: this deployment does not export to bucket {place.bucket}"
            raise InvalidRequestError(
                msg,
                hint=f"Deploy the stack with ExportBucketName={place.bucket}, and with ExportRegion, ExportRoleArn, "
                "ExportKmsKeyArn and ExportBucketOwner where it is in another Region or account: its functions have "
                f"rights to no bucket that they do not name. {_READ}",
            )
        self._check_access(place.bucket, request.to)
        if not f"{place.prefix}/".startswith(f"{join(self.prefix)}/"):
            msg = f"`{field}`: this deployment exports to the folder {self.prefix} and below, and not to {place.prefix}"
            bucket = place.prefix.partition("/")[0]
            raise InvalidRequestError(
                msg,
                hint="Choose a prefix there, or deploy the stack with another ExportPrefix. Should it be a bucket, "
                f"name it as one: s3://{bucket}",
            )
        folder = DATASETS_FOLDER if request.format == "parquet" else ""
        root = join(place.prefix, folder, request.export_name) + "/"
        for bucket, folder, whose in self._taken():
            if bucket == place.bucket and (root.startswith(folder) or folder.startswith(root)):
                msg = f"`{field}`: s3://{bucket}/{root} is not apart from s3://{bucket}/{folder}, which is {whose}"
                raise InvalidRequestError(
                    msg, hint=f"Choose another prefix; without `{field}` an export lies beside the other backups."
                )
        return place

    def _check_access(self, bucket: str, asked: ExportPlace) -> None:
        """Raise `InvalidRequestError` where the bucket is reached in another way than the one that is asked for."""
        is_other = bucket == self.bucket
        for name, wanted, there, parameter in (
            (
                "bucket_region",
                asked.bucket_region,
                (self.region if is_other else "") or self.own_region,
                "ExportRegion",
            ),
            ("role_arn", asked.role_arn, self.role_arn if is_other else "", "ExportRoleArn"),
            ("kms_key_arn", asked.kms_key_arn, self.kms_key_arn if is_other else "", "ExportKmsKeyArn"),
        ):
            if wanted is None or wanted == there:
                continue
            parameters = f"{parameter}={wanted}" if is_other else f"ExportBucketName and {parameter}={wanted}"
            msg = f"`{name}`: for bucket {bucket} this deployment has {there or 'none'}, and not {wanted}"
            raise InvalidRequestError(
                msg, hint=f"Leave it out, or deploy the stack with {parameters}: rights are of the stack. {_READ}"
            )

    def _taken(self) -> Iterator[tuple[str, str, str]]:
        """Yield bucket and folder of what exports to another place keep away from, and whose it is."""
        for bucket, prefix, whose in (
            (self.own.bucket, self.own.prefix, "where the backups of this deployment lie"),
            (self.milvus.bucket, self.milvus.root_path, "Milvus' own"),
            (self.milvus.bucket, self.staging_prefix, "where restores stage objects"),
        ):
            folder = join(prefix)
            yield bucket, f"{folder}/" if folder else "", whose
