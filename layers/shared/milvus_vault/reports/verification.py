"""The report of a verification."""

from datetime import datetime

from milvus_vault.model import readable
from milvus_vault.model.messages_verify import VerifyResult
from milvus_vault.reports.pages import meaning, render
from milvus_vault.verifying.working_files import VerifyProgress

_PROVES = {
    "quick": "a listing: each object is there, with the size and the ETag that were recorded",
    "checksum": "a listing, and the checksums that S3 keeps of the objects",
    "deep": "a listing, and the contents of the objects, which were read",
}
"""What each level looks at."""


def render_verification_report(
    result: VerifyResult, progress: VerifyProgress, location: str, execution_arn: str, finished_at: datetime
) -> bytes:
    """Return a verification's report, an HTML page in UTF-8.

    It has the first hundred things that are wrong, as the catalogue does.

    Args:
        result: What the run is told to have found.
        progress: The same in its working files, with what is wrong.
        location: Where the backup lies, as `s3://bucket/prefix/name/`.
        execution_arn: The execution that verified.
        finished_at: When it ended, UTC.
    """
    begun_at = progress.begun_at
    return render(
        "verification.html.j2",
        {
            "result": result,
            "location": location,
            "execution_arn": execution_arn,
            "begun_at": begun_at,
            "finished_at": finished_at,
            "seconds": (finished_at - begun_at).total_seconds() if begun_at else None,
            "looked_at": _PROVES[result.level],
            "how": readable.how_verified(result.model_dump()),
            "problems": progress.found,
            "error": progress.error,
            "meaning": meaning(progress.error) if progress.error else "",
            "hint": progress.hint,
        },
    )
