"""Create obstore clients for buckets, one per process and bucket.

Credentials come from Google's application-default credentials, or from Amazon's
environment variables, profiles and instance roles. No flag accepts credentials.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from obstore.store import GCSStore, S3Store

from transforms.records import UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("gs", "s3")
REQUEST_TIMEOUT_S = 60.0  # of one try, which carries at most 16 MiB
RETRY_TIMEOUT_S = 180.0  # of all tries of one request
_MAX_RETRIES = 10
_METADATA_TRIES = 3  # of one second each, to get the credentials of a machine
_CREDENTIALS_S = 300.0  # cached by the client; botocore renews them 15 minutes early
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"

Store = GCSStore | S3Store


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Overrides of the default endpoint, region and authentication of a store."""

    endpoint: str | None = None
    region: str | None = None
    is_anonymous: bool = False


class Location(NamedTuple):
    """The parsed URL of an object, of a prefix, or of a bucket."""

    scheme: str
    bucket: str
    key: str  # without slashes at its ends; "": the bucket


# Environment variable that passes the settings to child processes.
_VARIABLE = "IMAGENET_SUBSETS_STORES"
_configured = [StoreSettings(**json.loads(os.environ.get(_VARIABLE, "{}")))]


def configure(settings: StoreSettings) -> None:
    """Set the store settings of this process and of its future child processes."""
    _configured[0] = settings
    os.environ[_VARIABLE] = json.dumps(asdict(settings))
    open_store.cache_clear()


def read_settings() -> StoreSettings:
    """Return the store settings of this process."""
    return _configured[0]


class CarriedSettings:
    """Store settings that travel with a pickled step and configure its worker.

    They contain no credentials. A process that already has the settings keeps its
    clients.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (read_settings(),)


def _restore(settings: StoreSettings) -> CarriedSettings:
    if settings != read_settings():
        configure(settings)
    return CarriedSettings()


def parse_location(path: str) -> Location:
    """Split a URL into scheme, bucket and key.

    Raises:
      UsageError: unknown scheme, no bucket, or a path with `..`.
    """
    scheme, _, rest = path.partition("://")
    bucket, *parts = rest.split("/")
    if scheme == "hf":
        raise UsageError(
            f"{path}: the Hugging Face Hub is only read; name a local path, "
            "gs://BUCKET/... or s3://BUCKET/..."
        )
    if scheme not in SCHEMES or not bucket or ".." in parts:
        raise UsageError(
            f"{path}: is neither a local path nor gs://BUCKET/... or s3://BUCKET/..."
        )
    return Location(scheme, bucket, "/".join(p for p in parts if p not in {"", "."}))


@lru_cache
def open_store(scheme: str, bucket: str) -> Store:
    """Return the thread-safe client of a bucket; create it on the first call.

    Raises:
      UsageError: no valid credentials were found.
    """
    settings = _configured[0]
    retries: RetryConfig = {
        "max_retries": _MAX_RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S),
    }
    make = _open_google if scheme == "gs" else _open_amazon
    return make(bucket, settings, retries)


def is_any_open() -> bool:
    """Return whether this process has opened a client."""
    return open_store.cache_info().currsize > 0


def is_emulated(scheme: str) -> bool:
    """Return whether a Google store has a custom endpoint, i.e. is an emulator.

    Emulators may lack multipart uploads.
    """
    return scheme == "gs" and bool(_find_endpoint(scheme))


def _find_endpoint(scheme: str) -> str:
    """Return the custom endpoint URL of a store; "" for the default endpoint."""
    given = _configured[0].endpoint
    names = ("STORAGE_EMULATOR_HOST",) if scheme == "gs" else _AWS_ENDPOINTS
    found = given or next(filter(None, map(os.environ.get, names)), "")
    return found if "://" in found or not found else f"http://{found}"


_AWS_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def _client_options(endpoint: str) -> "ClientConfig":
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }


def _open_google(bucket: str, settings: StoreSettings, retries: "RetryConfig") -> Store:
    endpoint = _find_endpoint("gs")
    common: Mapping[str, Any] = {
        "client_options": _client_options(endpoint),
        "retry_config": retries,
    }
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if endpoint and (settings.is_anonymous or emulator):
        unsigned = {
            "gcs_base_url": endpoint,
            "disable_oauth": True,
            **dict.fromkeys(("client_email", "private_key", "private_key_id"), ""),
        }
        return GCSStore(bucket, service_account_key=json.dumps(unsigned), **common)
    if settings.is_anonymous:
        return GCSStore(bucket, skip_signature=True, **common)
    if endpoint:
        common = {**common, "base_url": endpoint}
    return GCSStore(bucket, credential_provider=_find_google_credentials(), **common)


def _find_google_credentials() -> Any:
    # Both take a while to import, and only Google's store needs them.
    import google.auth
    import google.auth.exceptions
    from obstore.auth.google import GoogleCredentialProvider

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise UsageError(
            "gs://: no Google credentials; run gcloud auth application-default login, "
            "set GOOGLE_APPLICATION_CREDENTIALS, or give --store_anonymous if the "
            "bucket is public"
        ) from error
    return GoogleCredentialProvider(credentials)


def _open_amazon(bucket: str, settings: StoreSettings, retries: "RetryConfig") -> Store:
    endpoint = _find_endpoint("s3")
    options: dict[str, Any] = {"skip_signature": True}
    if not settings.is_anonymous:
        options = _find_amazon_options()
    if settings.region:
        options["region"] = settings.region
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    return S3Store(
        bucket,
        client_options=_client_options(endpoint),
        retry_config=retries,
        **options,
    )


def _find_amazon_options() -> dict[str, Any]:
    """Return `S3Store` arguments with the credentials and region that botocore finds.

    Raises:
      UsageError: no credentials were found.
    """
    # All take a while to import, and only Amazon's store needs them.
    import botocore.session
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = botocore.session.Session()
    session.set_config_variable("metadata_service_num_attempts", _METADATA_TRIES)
    try:
        # botocore itself does not read AWS_REGION.
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise UsageError(f"s3://: {error}") from error
    if credentials is None:
        raise UsageError(
            "s3://: no Amazon credentials; run aws configure, set AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --store_anonymous "
            "if the bucket is public"
        )
    provider = Boto3CredentialProvider(session, ttl=timedelta(seconds=_CREDENTIALS_S))
    options: dict[str, Any] = {"credential_provider": provider}
    return options | ({"region": region} if region else {})
