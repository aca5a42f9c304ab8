"""Prices of AWS in us-east-1, November 2026: for arm64 and S3 Standard, without free tiers.

They change seldom, and differ by Region: look at them before you rely on a figure.

https://aws.amazon.com/s3/pricing, .../step-functions/pricing and .../lambda/pricing
"""

REQUEST_USD = 0.005 / 1000
"""A PUT, COPY, POST or LIST request to S3."""
GET_USD = 0.0004 / 1000
GB_MONTH_USD = 0.023
"""Of the first 50 TB; a GB is 2^30 bytes there."""
TRANSITION_USD = 0.025 / 1000
"""A state transition of a standard execution."""
GB_SECOND_USD = 0.0000133334
INVOCATION_USD = 0.20 / 1_000_000
