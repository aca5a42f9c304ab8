"""Looking before leaping: collections, checks and estimates. A function that reaches Milvus does the work."""

from typing import Annotated

from pydantic import Field

from milvus_vault.api.routing import Paging, QueryFlag, Routes
from milvus_vault.api.services import Services
from milvus_vault.errors import (
    AnswerTimeoutError,
    ClientCertificateError,
    CollectionNotFoundError,
    DatabaseNotFoundError,
    MilvusAuthenticationError,
    MilvusCertificateError,
    MilvusSecretError,
    MilvusTlsError,
    MilvusUnavailableError,
    WorkingFileError,
)
from milvus_vault.model.messages import InspectMilvusRequest
from milvus_vault.model.resources import CheckReport, CollectionInfo, Estimate, EstimateRequest, Page
from milvus_vault.model.words import Form

routes = Routes("inspection")

ABOUT_MILVUS = (
    AnswerTimeoutError,
    ClientCertificateError,
    MilvusAuthenticationError,
    MilvusCertificateError,
    MilvusSecretError,
    MilvusTlsError,
    MilvusUnavailableError,
)


DatabaseName = Annotated[
    str,
    Form(
        r"^[A-Za-z_][A-Za-z0-9_]{0,254}$",
        "name of a database",
        "letters, digits and underscores, at most 255, no digit first",
    ),
]


class CollectionFilter(Paging):
    """Which collections, and what of them."""

    database: DatabaseName | None = Field(default=None, description="Only collections of this database.")
    sizes: QueryFlag = Field(default=False, description="Also list their objects, which takes its time.")


@routes.get("/collections", errors=[DatabaseNotFoundError, *ABOUT_MILVUS])
def get_collections(services: Services, query: CollectionFilter) -> Page[CollectionInfo]:
    """List the collections that could be backed up, by name. Rows are those that were flushed."""
    request = InspectMilvusRequest(
        inspection="collections", limit=query.limit, token=query.token, database=query.database, sizes=query.sizes
    )
    return services.look_at_milvus(Page[CollectionInfo], request)


@routes.post("/check")
def post_check(services: Services) -> CheckReport:
    """Check all that backups and restores need. Each thing has a verdict of its own; nothing is changed."""
    return services.look_at_milvus(CheckReport, InspectMilvusRequest(inspection="check"))


@routes.post("/estimate", errors=[CollectionNotFoundError, DatabaseNotFoundError, WorkingFileError, *ABOUT_MILVUS])
def post_estimate(services: Services, body: EstimateRequest) -> Estimate:
    """Estimate what a backup would take; an incremental one beside a full one. Nothing is copied, nothing flushed."""
    request = InspectMilvusRequest(inspection="estimate", backup=body.backup)
    return services.look_at_milvus(Estimate, request)
