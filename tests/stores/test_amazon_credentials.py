"""Amazon credentials and regions come from where Amazon's own tools find them."""

import sys

import pytest

from tests.stores import fault_server
from transforms import storage
from transforms.records import UsageError
from transforms.storage import clients as store_clients
from transforms.storage.clients import StoreSettings

BUCKET = "photographs"
PATH = f"s3://{BUCKET}/a.txt"
PROCESS = """
import json
print(json.dumps({"Version": 1, "AccessKeyId": "OFPROCESS", "SecretAccessKey": "x"}))
"""


@pytest.fixture
def amazon_files(tmp_path, monkeypatch, set_variable):
    """Give an environment without credentials, and the files of `aws configure`."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE",
                 "REGION", "DEFAULT_REGION", "ENDPOINT_URL"):  # fmt: skip
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    (tmp_path / "process.py").write_text(PROCESS)
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = OFDEFAULT\naws_secret_access_key = x\n"
        "[work]\naws_access_key_id = OFWORK\naws_secret_access_key = x\n"
        "aws_session_token = TOKENOFWORK\n"
        "[half]\naws_access_key_id = OFHALF\n"
    )
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n"
        "[profile work]\nregion = ap-south-1\n"
        f"[profile tool]\ncredential_process = {sys.executable} {tmp_path}/process.py\n"
    )
    set_variable("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    set_variable("AWS_CONFIG_FILE", str(tmp_path / "config"))
    set_variable("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


@pytest.fixture
def sent(amazon_files, set_variable):  # noqa: ARG001  # the environment
    """Run a store; returns what sends it a request and returns the headers."""
    with fault_server.run(BUCKET) as (address, state):
        set_variable("AWS_ENDPOINT_URL", address)

        def send(**settings):
            store_clients.configure(StoreSettings(**settings))
            storage.exists(PATH)
            return state.headers[-1]

        yield send


@pytest.mark.parametrize(
    ("variables", "key", "region"),
    [
        ({}, "OFDEFAULT", "eu-west-1"),
        ({"AWS_PROFILE": "work"}, "OFWORK", "ap-south-1"),
        ({"AWS_PROFILE": "tool"}, "OFPROCESS", "us-east-1"),
        ({"AWS_REGION": "us-west-2"}, "OFDEFAULT", "us-west-2"),
        ({"AWS_DEFAULT_REGION": "us-west-1"}, "OFDEFAULT", "us-west-1"),
        (
            {"AWS_ACCESS_KEY_ID": "OFVARIABLE", "AWS_SECRET_ACCESS_KEY": "x"},
            "OFVARIABLE",
            "eu-west-1",
        ),
    ],
)
def test_requests_are_signed_as_amazons_tools_sign(
    sent, set_variable, variables, key, region
):
    for name, value in variables.items():
        set_variable(name, value)
    headers = sent()
    assert f"Credential={key}/" in headers["authorization"]
    assert f"/{region}/s3/" in headers["authorization"]
    token = "TOKENOFWORK" if key == "OFWORK" else None
    assert headers.get("x-amz-security-token") == token


def test_flag_of_the_region_goes_first(sent):
    assert "/sa-east-1/s3/" in sent(region="sa-east-1")["authorization"]


def test_anonymous_requests_are_not_signed(sent):
    assert "authorization" not in sent(is_anonymous=True)


@pytest.mark.parametrize(
    ("profile", "config", "message"),
    [
        ("gone", None, "s3://: The config profile (gone) could not be found"),
        ("half", None, "s3://: Partial credentials found in shared-credentials-file"),
        ("default", "no section\n", "s3://: Unable to parse config file: "),
        ("empty", "[profile empty]\n", "s3://: no Amazon credentials; run aws conf"),
    ],
)
def test_missing_credentials_are_an_error_before_any_request(
    amazon_files, set_variable, profile, config, message
):
    if config:
        (amazon_files / "config").write_text(config)
    set_variable("AWS_PROFILE", profile)
    with pytest.raises(UsageError) as raised:
        storage.exists(PATH)
    assert str(raised.value).startswith(message)
