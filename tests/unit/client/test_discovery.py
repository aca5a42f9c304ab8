"""The API is found by what is given, then by the environment, then by the local stack; else it is said what to give."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.credentials import RefreshableCredentials

from milvus_vault.client import connect, find_door
from milvus_vault.client.caller import Caller, Credentials
from milvus_vault.client.deployments import Deployment, deployments_path, write_deployments
from milvus_vault.client.discovery import local_door
from milvus_vault.client.transport import Transport
from milvus_vault.errors import ApiAccessDeniedError, ApiNotFoundError, ApiUnavailableError, InvalidRequestError

URL = "https://abc123.execute-api.eu-west-1.amazonaws.com/v1"
FOUND = """<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>
<Stacks><member><StackName>vault</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>
<StackStatus>{2}</StackStatus><Outputs><member><OutputKey>{0}</OutputKey><OutputValue>{1}</OutputValue>
</member></Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""
REFUSED = "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"

# Outputs of the stacks that there are, by Region and name.
STACKS: dict[tuple[str, str], str] = {}


class CloudFormation(BaseHTTPRequestHandler):
    """As much of the service as describes a stack."""

    def do_POST(self) -> None:
        """Answer DescribeStacks."""
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        region = re.findall(r"Credential=\w+/\d+/([a-z0-9-]+)/", self.headers["Authorization"])[0]
        name = asked["StackName"][0]
        status, text = 400, REFUSED.format("ValidationError", f"Stack with id {name} does not exist")
        if name == "forbidden":
            status, text = 403, REFUSED.format("AccessDenied", "no cloudformation:DescribeStacks for you")
        if (region, name) in STACKS:
            state = "CREATE_IN_PROGRESS" if name == "young" else "CREATE_COMPLETE"
            status, text = 200, FOUND.format(STACKS[region, name], URL, state)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Use a CloudFormation of our own, and no local stack."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_REGION",
        "AWS_SESSION_TOKEN",
        "MILVUS_VAULT_URL",
        "MILVUS_VAULT_STACK",
        "MILVUS_VAULT_DEPLOYMENT",
    ):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), CloudFormation)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    STACKS.clear()
    server.shutdown()
    thread.join()
    server.server_close()


def deploy(name: str, output: str = "ApiUrl", region: str = "eu-west-1") -> None:
    """Let there be a stack with one output."""
    STACKS[region, name] = output


def test_a_stack_is_asked_for_its_output() -> None:
    deploy("vault")
    door = find_door(stack="vault")
    assert (door.url, door.found_by) == (URL, "stack")
    assert connect(stack="vault").url == URL


def test_a_stack_is_looked_for_in_the_given_region() -> None:
    deploy("vault", region="us-west-2")
    assert find_door(stack="vault", region="us-west-2").url == URL
    with pytest.raises(ApiNotFoundError, match="no stack 'vault' in eu-west-1"):
        find_door(stack="vault")


def test_a_stack_without_an_api_is_told() -> None:
    deploy("other", "Something")
    with pytest.raises(ApiNotFoundError, match="no output ApiUrl"):
        find_door(stack="other")


def test_a_stack_that_is_being_made_is_told() -> None:
    deploy("young", "Something")
    with pytest.raises(ApiNotFoundError, match="ApiUrl yet: CloudFormation says CREATE_IN_PROGRESS") as raised:
        find_door(stack="young")
    assert "when that is done" in raised.value.hint


def test_a_caller_who_may_not_describe_stacks_is_told() -> None:
    with pytest.raises(ApiAccessDeniedError, match="no cloudformation:DescribeStacks for you") as raised:
        find_door(stack="forbidden")
    assert "`url`" in raised.value.hint


def test_what_is_given_goes_before_the_environment() -> None:
    deploy("vault")
    environment = {"MILVUS_VAULT_URL": "https://elsewhere", "MILVUS_VAULT_STACK": "nowhere"}
    assert find_door(stack="vault", environment=environment).url == URL
    assert find_door(url="https://given", environment=environment).url == "https://given"
    assert find_door(environment=environment).url == "https://elsewhere"


def test_the_environment_may_name_a_stack() -> None:
    deploy("vault")
    assert find_door(environment={"MILVUS_VAULT_STACK": "vault"}).url == URL


def test_without_anything_it_is_said_what_to_give() -> None:
    with pytest.raises(ApiNotFoundError) as raised:
        find_door(environment={})
    assert "`stack`" in raised.value.hint


@pytest.mark.parametrize(
    "url", ["abc123.execute-api.eu-west-1.amazonaws.com/v1", "https://", "http://[::1/v1", "http://a:65536", "ftp://a"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ApiNotFoundError, match="is no address"):
        find_door(url=url)


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(ApiAccessDeniedError, match="no AWS profile 'nobody'"):
        find_door(url=URL, profile="nobody")


def test_a_missing_region_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ApiNotFoundError) as raised:
        find_door(stack="vault")
    assert "`region`" in raised.value.hint


def test_requests_are_signed_for_the_region_in_the_address() -> None:
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    caller = Caller(lambda: session)
    assert Transport(URL, caller)._region() == "eu-west-1"
    assert Transport("https://vault.example.org/v1", caller)._region() == "us-east-1"


def test_an_aws_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ApiUnavailableError, match="cannot ask CloudFormation"):
        find_door(stack="vault")


def test_two_ways_to_name_one_api_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="`url` and `stack` exclude each other"):
        find_door(url=URL, stack="vault")


def test_a_deployment_leads_to_what_was_kept_under_its_name() -> None:
    deploy("vault", region="us-west-2")
    write_deployments({"prod": Deployment(stack="vault", region="us-west-2"), "test": Deployment(url="https://test")})
    assert find_door(deployment="prod").url == URL
    assert find_door(environment={"MILVUS_VAULT_DEPLOYMENT": "prod"}).caller.region == "us-west-2"
    assert find_door(deployment="test", environment={"MILVUS_VAULT_URL": "https://elsewhere"}).url == "https://test"
    both = {"MILVUS_VAULT_URL": "https://elsewhere", "MILVUS_VAULT_DEPLOYMENT": "test"}
    assert find_door(environment=both).url == "https://elsewhere"
    with pytest.raises(ApiNotFoundError, match="no stack 'vault' in eu-west-1"):
        find_door(deployment="prod", region="eu-west-1")


def test_a_deployment_that_is_not_there_is_told_with_those_that_are() -> None:
    write_deployments({"prod": Deployment(stack="vault")})
    with pytest.raises(ApiNotFoundError, match="no deployment 'pord'") as raised:
        find_door(deployment="pord")
    assert "has prod." in raised.value.hint


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"prod": {"stock": "vault"}}', '{"prod": {"region": "x"}}', "\xff"],
)
def test_a_file_of_deployments_that_is_none_is_named(content: str) -> None:
    deployments_path().parent.mkdir(parents=True)
    deployments_path().write_bytes(content.encode("latin-1"))
    with pytest.raises(ApiNotFoundError, match="cannot be read") as raised:
        find_door(deployment="prod")
    assert str(deployments_path()) in raised.value.message


def test_a_configuration_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (tmp_path / "config").write_text("[default\nregion = eu-west-1\n")
    with pytest.raises(ApiAccessDeniedError, match="AWS configuration cannot be read"):
        find_door(url=URL)


@pytest.mark.parametrize("content", ["", "[default\n"])
def test_a_local_stack_needs_nothing_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    (tmp_path / "config").write_text(content)
    (tmp_path / "credentials").write_text(content)
    caller = local_door("http://127.0.0.1:1").caller
    session = caller.session
    for found in (caller.credentials(), session.get_credentials()):
        assert found is not None
        assert (found.access_key, found.secret_key, found.token) == ("test", "test", None)
    assert caller.region == session.region_name == "us-east-1"
    assert session.client("s3").meta.region_name == "us-east-1"


PROFILES = """[profile work]
region = eu-north-1
aws_access_key_id = AKIAWORK
aws_secret_access_key = of work
aws_session_token = token of work
"""


@pytest.mark.parametrize(
    ("environment", "given", "access_key", "region"),
    [
        ({}, {}, "AKIAEXAMPLE", "eu-west-1"),
        ({"AWS_REGION": "eu-west-3"}, {}, "AKIAEXAMPLE", "eu-west-3"),
        ({"AWS_REGION": "eu-west-3"}, {"region": "us-west-1"}, "AKIAEXAMPLE", "us-west-1"),
        ({"AWS_PROFILE": "work"}, {}, "AKIAEXAMPLE", "eu-west-1"),
        ({}, {"profile": "work"}, "AKIAWORK", "eu-west-1"),
        ({"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "", "AWS_DEFAULT_REGION": None}, {}, "AKIAWORK", "eu-north-1"),
        ({"AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "", "AWS_REGION": "eu-west-3"}, {}, "AKIAWORK", "eu-west-3"),
    ],
)
def test_the_environment_signs_unless_a_profile_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str | None],
    given: dict[str, str],
    access_key: str,
    region: str,
) -> None:
    (tmp_path / "config").write_text(PROFILES)
    for name, value in environment.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    caller = find_door(url=URL, region=given.get("region", ""), profile=given.get("profile", "")).caller
    for found in (caller.credentials(), caller.session.get_credentials()):
        assert found is not None
        assert found.access_key == access_key
    assert caller.region == caller.session.region_name == region


def test_what_the_environment_has_is_signed_with_at_once_and_with_its_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default\n")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    caller = find_door(url=URL).caller
    assert caller.credentials() == Credentials("AKIAEXAMPLE", "secret", "a token")


def test_credentials_of_the_environment_that_run_out_are_renewed_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2999-01-01T00:00:00Z")
    caller = find_door(url=URL).caller
    assert isinstance(caller.session.get_credentials(), RefreshableCredentials)
    assert caller.credentials() == Credentials("AKIAEXAMPLE", "secret")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2000-01-01T00:00:00Z")
    with pytest.raises(ApiAccessDeniedError, match="expired"):
        find_door(url=URL).caller.credentials()
