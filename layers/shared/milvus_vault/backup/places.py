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
            raise InvalidRequestError(msg, hint="Deploy the stack with this bucket as ExportBucketName.")
        if not f"{place.prefix}/".startswith(f"{join(self.prefix)}/"):
            msg = f"`{field}`: this deployment exports to the folder {self.prefix} and below, and not to {place.prefix}"
            raise InvalidRequestError(msg, hint="Choose a prefix there, or deploy the stack with another ExportPrefix.")
        folder = DATASETS_FOLDER if request.format == "parquet" else ""
        root = join(place.prefix, folder, request.export_name) + "/"
        for bucket, folder, whose in self._taken():
            if bucket == place.bucket and (root.startswith(folder) or folder.startswith(root)):
                msg = f"`{field}`: s3://{bucket}/{root} is not apart from s3://{bucket}/{folder}, which is {whose}"
                raise InvalidRequestError(
                    msg, hint="Choose another prefix; without `{field}` an export lies beside the other backups."
                )
        return place

    def _taken(self) -> Iterator[tuple[str, str, str]]:
        """Yield bucket and folder of what exports to another place keep away from, and whose it is."""
        for bucket, prefix, whose in (
            (self.own.bucket, self.own.prefix, "where the backups of this deployment lie"),
            (self.milvus.bucket, self.milvus.root_path, "Milvus' own"),
            (self.milvus.bucket, self.staging_prefix, "where restores stage objects"),
        ):
            folder = join(prefix)
            yield bucket, f"{folder}/" if folder else "", whose
