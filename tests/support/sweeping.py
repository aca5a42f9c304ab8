"""Sweeps of a deployment on the local stack, as its own prune makes them, at another time or without its grace."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from local.stack import Deployment
from milvus_vault.adapters.executions import StepFunctionsExecutions
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.retention.sweep import Sweep
from milvus_vault.retention.working_files import Swept


def sweep(
    deployment: Deployment,
    staging_prefix: str,
    *,
    now: datetime | None = None,
    grace: timedelta = timedelta(days=7),
) -> Swept:
    """Sweep at a time, now if none is given, what was not written during the grace before; return what went.

    By S3's clock the pool's objects are as old as they are: of these nothing is old without `grace=timedelta(0)`.
    """
    client = deployment.ministack.client("s3")
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as environment, ThreadPoolExecutor(4) as pool:
        environment.setenv("AWS_ENDPOINT_URL", deployment.ministack.url)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        swept, is_all = Sweep(
            store=S3ObjectStore(client, client, pool),
            executions=StepFunctionsExecutions(),
            bucket=deployment.outputs["BackupBucketName"],
            prefix=deployment.outputs["BackupPrefix"],
            milvus_bucket=deployment.milvus.bucket,
            staging_prefix=staging_prefix,
            run=f"prune-{name}",
            # Which the deployment's functions may ask about, and be told that there is none.
            execution_arn=deployment.outputs["PruneStateMachineArn"].replace("stateMachine", "execution") + f":{name}",
            now=now or datetime.now(UTC),
            grace=grace,
            seconds_left=lambda: 900.0,
        ).sweep()
    assert is_all
    return swept
