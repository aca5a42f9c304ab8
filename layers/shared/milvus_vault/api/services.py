"""What the routes work with."""

from dataclasses import dataclass
from datetime import datetime

from milvus_vault.catalogue import Catalogue
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
    now: datetime
    """When the request came."""

    @property
    def working_files(self) -> WorkingFiles:
        """Return where the working files of runs lie."""
        return WorkingFiles(self.store, self.bucket, self.prefix)
