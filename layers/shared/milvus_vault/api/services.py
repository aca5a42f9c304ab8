"""What the routes work with."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import check_backup_exists
from milvus_vault.backup.places import ExportPlaces
from milvus_vault.catalogue import Catalogue
from milvus_vault.errors import ServiceRequestError
from milvus_vault.model.messages import InspectMilvusRequest
from milvus_vault.ports import Executions, Inspector, ObjectStore
from milvus_vault.runs.describing import WorkingFiles
from milvus_vault.runs.machines import Machines
from milvus_vault.schedules import Schedules


@dataclass(frozen=True, slots=True)
class Services:
    """The deployment, as the routes see it."""

    store: ObjectStore
    bucket: str
    prefix: str
    """The backup prefix of the deployment; may be empty."""
    catalogue: Catalogue
    machines: Machines
    executions: Executions
    schedules: Schedules
    inspector: Inspector
    export_places: ExportPlaces
    now: datetime
    """When the request came."""

    def look_at_milvus[Found: BaseModel](self, model: type[Found], request: InspectMilvusRequest) -> Found:
        """Return what the function that looks at Milvus finds.

        Raises what `Inspector.inspect` raises, and `ServiceRequestError` for an answer that is none to this request.
        """
        try:
            return model.model_validate(self.inspector.inspect(request))
        except ValidationError as err:
            msg = f"the function that looks at Milvus answers with something else than {request.inspection}"
            raise ServiceRequestError(msg, hint="See its log; it may be of another release.") from err

    def check_backup(self, name: str) -> None:
        """Return if there is a backup, or one that has lost its marker. Raises `BackupNotFoundError`."""
        check_backup_exists(self.store, self.bucket, BackupLayout(self.prefix, name))

    @property
    def working_files(self) -> WorkingFiles:
        """Return where the working files of runs lie."""
        return WorkingFiles(self.store, self.bucket, self.prefix)
