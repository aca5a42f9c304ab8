"""What the backup prefix holds."""

import time

from pydantic import Field

from milvus_vault.api.routing import ANSWER_SECONDS, QueryFlag, Routes
from milvus_vault.api.services import Services
from milvus_vault.errors import AnswerTimeoutError
from milvus_vault.inspection.stats import prefix_stats
from milvus_vault.model.base import Model
from milvus_vault.model.resources import Stats

routes = Routes("stats")


class StatsParts(Model):
    """What is told."""

    pool: QueryFlag = Field(
        default=True, description="Also what is stored, for which the pool is listed; without, only what backups list."
    )
    token: str | None = Field(
        default=None, max_length=4096, description="`next_token` of the answer before: the listing of the pool goes on."
    )


@routes.get("/stats", errors=[AnswerTimeoutError])
def get_stats(services: Services, query: StatsParts) -> Stats:
    """Tell what the backups list, what is stored for them, and what each schedule's backups cost a month.

    Where the pool is too large to be listed in one answer, what is stored is null, and `next_token` is there to go on.
    """
    end = time.monotonic() + ANSWER_SECONDS

    def check() -> None:
        if time.monotonic() > end:
            place = f"s3://{services.bucket}/{services.prefix}"
            msg = f"reading what each backup in {place} lists takes longer than an answer of the API may take"
            raise AnswerTimeoutError(msg, hint="The list of backups tells of each, page by page.")

    return prefix_stats(
        services.store,
        services.bucket,
        services.prefix,
        services.catalogue,
        with_pool=query.pool,
        token=query.token,
        check=check,
        has_time=lambda: time.monotonic() < end,
    )
