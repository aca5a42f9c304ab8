"""Small files of the pool that are changed under the condition that they are as they were read."""

from pydantic import BaseModel

from milvus_vault.archive.sealing import unseal
from milvus_vault.errors import ObjectNotFoundError, WorkingFileError
from milvus_vault.ports import ObjectStore


def find_note[Note: BaseModel](
    store: ObjectStore, bucket: str, key: str, model: type[Note], *, says: str, hint: str
) -> tuple[Note, str] | None:
    """Return what a file says and its ETag; None where there is none.

    A digest that a file has must be its own. Raises `WorkingFileError` for one that cannot be read, with what it says
    and a hint: to guess would lose objects.
    """
    try:
        body, etag = store.get_with_etag(bucket, key)
        return model.model_validate_json(unseal(body)), etag
    except ObjectNotFoundError:
        return None
    except ValueError as err:
        msg = f"s3://{bucket}/{key}, which says {says}, cannot be read"
        raise WorkingFileError(msg, hint=hint) from err
