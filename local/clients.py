"""boto3 clients that nothing on the host can turn elsewhere."""

import functools
import os
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

REGION = "us-east-1"


@functools.cache
def create(service: str, endpoint_url: str, *, access_key: str, secret_key: str) -> Any:
    """Return the client of the service at the endpoint, the same one each time: making one takes 0.2 s.

    Files and variables for profiles, endpoints and proxies are not read: a mistake in a test must not reach
    a real account, nor fail for want of a profile.
    """
    no_file = (None, None, os.devnull, None)
    core = botocore.session.Session(
        session_vars={"profile": (None, None, None, None), "config_file": no_file, "credentials_file": no_file}
    )
    session = boto3.session.Session(
        botocore_session=core,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )
    config = Config(
        proxies={},
        # Host prefixes make names that do not resolve, such as `sync-states.127.0.0.1`.
        inject_host_prefix=False,
        retries={"total_max_attempts": 3, "mode": "standard"},
    )
    make: Any = session.client  # its overloads want the name of the service as a literal
    return make(service, endpoint_url=endpoint_url, config=config)
