"""What AWS asks for what backups and restores take: the only table of prices. docs/cost.md has it for people.

Without free tiers and discounts. Prices change seldom, and differ by Region: look at them before you rely on a figure.
`python -m tools.prices` tells how.
"""

from dataclasses import dataclass
from datetime import date

REGION = "us-east-1"
"""Whose prices these are."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price of AWS'."""

    what: str
    usd: float
    """For `per` of it."""
    per: int
    page: str
    """Where it is published."""
    service: str
    """Its code in AWS' Price List API."""
    usage: str
    """Its type of usage there; in other Regions with their abbreviation before it."""
    noted_on: date
    """When it was written down here."""


_S3, _STATES = "https://aws.amazon.com/s3/pricing/", "https://aws.amazon.com/step-functions/pricing/"
_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_DAY = date(2026, 11, 30)

PRICES = (
    _WRITE := Price("PUT, COPY, POST and LIST requests", 0.005, 1000, _S3, "AmazonS3", "Requests-Tier1", _DAY),
    _READ := Price("GET requests", 0.0004, 1000, _S3, "AmazonS3", "Requests-Tier2", _DAY),
    _KEEP := Price("GB-months of S3 Standard, first 50 TB", 0.023, 1, _S3, "AmazonS3", "TimedStorage-ByteHrs", _DAY),
    _STEP := Price("state transitions", 0.025, 1000, _STATES, "AmazonStates", "StateTransition", _DAY),
    _RUN := Price("GB-seconds, arm64", 0.0000133334, 1, _LAMBDA, "AWSLambda", "Lambda-GB-Second-ARM", _DAY),
    _CALL := Price("calls of functions, arm64", 0.20, 1_000_000, _LAMBDA, "AWSLambda", "Request-ARM", _DAY),
)

REQUEST_USD = _WRITE.usd / _WRITE.per
"""A PUT, COPY, POST or LIST request to S3."""
GET_USD = _READ.usd / _READ.per
GB_MONTH_USD = _KEEP.usd / _KEEP.per
"""Of the first 50 TB; a GB is 2^30 bytes there."""
TRANSITION_USD = _STEP.usd / _STEP.per
"""A state transition of a standard execution."""
GB_SECOND_USD = _RUN.usd / _RUN.per
INVOCATION_USD = _CALL.usd / _CALL.per
