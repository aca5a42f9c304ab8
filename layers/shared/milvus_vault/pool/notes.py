"""Small files of the pool that attempts and sweeps change under the condition that they are as they were read."""

from pydantic import BaseModel, ValidationError

from milvus_vault.errors import ObjectNotFoundError, WorkingFileError
from milvus_vault.ports import ObjectStore


def find_note[Note: BaseModel](
    store: ObjectStore, bucket: str, key: str, model: type[Note], *, says: str, hint: str
) -> tuple[Note, str] | None:
    """Return what a file says and its ETag; None where there is none.

    Raises `WorkingFileError` for one that cannot be read, with what it says and a hint: to guess would lose objects.
    """
    try:
        body, etag = store.get_with_etag(bucket, key)
        return model.model_validate_json(body), etag
    except ObjectNotFoundError:
        return None
    except ValidationError as err:
        msg = f"s3://{bucket}/{key}, which says {says}, cannot be read"
        raise WorkingFileError(msg, hint=hint) from err
