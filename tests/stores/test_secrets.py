"""Test that keys appear in no output, log or message."""

import json
import logging
import socket

import pytest

from pipelines import build, confusion, index, predict, store_flags
from tests import building, making_models
from tests.stores.copying import upload
from transforms import storage
from transforms.storage import clients as store_clients

BUCKET = "s3://photographs"
SECRET = "ShhThisIsASecretAccessKey0123456789"
TOKEN = "ShhThisIsASessionToken0123456789"
SMALL = {"num_groups": 2, "images_per_group": 10, "min_validation_images": 10}


@pytest.fixture
def said(faulty, set_variable, capfd, caplog):  # noqa: ARG001  # the store
    """Set a secret key; return a function that searches all output for it."""
    set_variable("AWS_SECRET_ACCESS_KEY", SECRET)
    set_variable("AWS_SESSION_TOKEN", TOKEN)
    store_clients.open_store.cache_clear()
    caplog.set_level(logging.DEBUG)

    def read():
        captured = capfd.readouterr()
        return captured.out + captured.err + caplog.text

    return read


def find_secrets(text):
    return [secret for secret in (SECRET, TOKEN) if secret in text]


def fail(job, flags):
    with pytest.raises(SystemExit) as ended:
        job.main(flags)
    return ended.value.code


def test_outputs_and_logs_hold_no_key(faulty, said, mini_imagenet, tmp_path):
    source = upload(mini_imagenet, f"{BUCKET}/imagenet")
    index.main([f"--input={source}", f"--output={BUCKET}/out/index.parquet"])
    made = f"{BUCKET}/out/index.parquet"
    build.main(building.command_line(made, f"{BUCKET}/out", **SMALL))
    making_models.write_onnx(tmp_path / "model.onnx", 2)
    making_models.write_card(tmp_path / "model.json", ["n01440764", "n01443537"])
    fail(predict, [f"--input={made}", "--split=validation", "--model=none.onnx",
                   f"--output={BUCKET}/out/p.parquet"])  # fmt: skip
    text = said()
    assert "small/1.0.0" in text
    assert find_secrets(text) == []
    written = {k: v for k, v in faulty.objects.items() if k.startswith("out/")}
    assert len(written) > 10
    for key, data in written.items():
        assert find_secrets(data.decode("latin-1")) == [], key
    assert faulty.objects, "the key was used"


@pytest.mark.parametrize("fault", ["denied", 403, "reset"])
def test_messages_hold_no_key(faulty, said, mini_imagenet, fault, monkeypatch):
    monkeypatch.setattr(store_clients, "_MAX_RETRIES", 0)
    source = upload(mini_imagenet, f"{BUCKET}/imagenet")
    if fault == "denied":
        faulty.denied = "GET"
    else:
        faulty.fail(fault, times=999)
    assert fail(build, building.command_line(source, f"{BUCKET}/out", **SMALL)) == 2
    flags = [f"--predictions={BUCKET}/p.parquet", f"--output={BUCKET}/c"]
    assert fail(confusion, flags) == 2
    text = said()
    assert "error: " in text
    assert "Traceback" not in text
    assert find_secrets(text) == []


def make_service_account(path, token_uri):
    """Write the key file of a service account; return the key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    described = {
        "type": "service_account",
        "client_email": "somebody@nowhere.invalid",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": token_uri,
        "project_id": "nowhere",
    }
    path.write_text(json.dumps(described))
    return key.decode()


def test_service_account_without_answer_is_a_mistake_without_its_key(
    set_variable, mini_imagenet, tmp_path, capfd, caplog
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # nobody listens there afterwards
    key = make_service_account(tmp_path / "key.json", f"http://127.0.0.1:{port}/token")
    set_variable("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    caplog.set_level(logging.DEBUG)
    flags = building.command_line(mini_imagenet, "gs://photographs/out", **SMALL)
    assert fail(build, flags) == 2
    captured = capfd.readouterr()
    text = captured.out + captured.err + caplog.text
    assert "error: " in text
    assert "Traceback" not in captured.err
    assert not [line for line in key.splitlines()[1:-1] if line in text]


@pytest.mark.parametrize(
    "endpoint",
    [
        f"https://somebody:{SECRET}@store.example",
        f"https://store.example/?X-Amz-Signature={SECRET}",
    ],
)
@pytest.mark.usefixtures("set_variable")
def test_endpoint_with_a_password_is_refused_and_not_repeated(endpoint):
    (problem,) = store_flags.StoreFlags(store_endpoint=endpoint).find_store_problems()
    assert "must be a URL without credentials" in problem
    assert find_secrets(problem) == []
    assert storage.is_remote(BUCKET)
