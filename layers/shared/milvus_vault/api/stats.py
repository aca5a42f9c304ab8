"""What the backup prefix holds."""

import time

from pydantic import Field

from milvus_vault.api.routing import ANSWER_SECONDS, QueryFlag, Routes
from milvus_vault.api.services import Services
from milvus_vault.errors import ServiceUnavailableError
from milvus_vault.inspection.stats import prefix_stats
from milvus_vault.model.base import Model
from milvus_vault.model.resources import Stats

routes = Routes("stats")


class StatsParts(Model):
    """What is told."""

    pool: QueryFlag = Field(
        default=True, description="Also what is stored, for which the pool is listed; without, only what backups list."
    )


@routes.get("/stats")
def get_stats(services: Services, query: StatsParts) -> Stats:
    """Tell what the backups list, what is stored for them, and what each schedule's backups cost a month."""
    end = time.monotonic() + ANSWER_SECONDS

    def check() -> None:
        if time.monotonic() > end:
            place = f"s3://{services.bucket}/{services.prefix}"
            msg = f"telling what {place} holds takes longer than an answer of the API may take"
            hint = "With `pool: false` only what backups list is told."
            more = "The list of backups tells of each: there are too many for one answer."
            raise ServiceUnavailableError(msg, hint=hint if query.pool else more)

    return prefix_stats(
        services.store, services.bucket, services.prefix, services.catalogue, with_pool=query.pool, check=check
    )
