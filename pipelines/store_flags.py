"""Declare the flags of object stores and pass their settings to workers."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence

from transforms.options import flag
from transforms.storage import clients
from transforms.storage.clients import StoreSettings

_HEADING = "buckets (gs://, s3://)"
_WORKERS = "pipelines.worker_options"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreFlags:
    """Flags of object stores: endpoint, region and anonymous access.

    Credentials come from the environment: Google's application default credentials,
    or Amazon's variables, profiles and roles.
    """

    store_endpoint: str | None = flag(
        "URL of a store other than Google's or Amazon's (default: "
        "$STORAGE_EMULATOR_HOST or $AWS_ENDPOINT_URL)",
        default=None,
        metavar="URL",
        heading=_HEADING,
    )
    store_region: str | None = flag(
        "region of s3:// buckets (default: $AWS_REGION)",
        default=None,
        metavar="NAME",
        heading=_HEADING,
    )
    store_anonymous: bool = flag(
        "send no credentials, for public buckets and emulators",
        default=False,
        heading=_HEADING,
    )

    def find_store_problems(self) -> Iterator[str]:
        """Yield a message if --store_endpoint is no HTTP(S) URL, or has credentials."""
        endpoint = self.store_endpoint
        if endpoint is not None and {"@", "?"} & set(endpoint):
            yield (  # without the value, which may be secret: flags are logged
                "--store_endpoint: must be a URL without credentials; credentials come "
                "from the environment"
            )
        elif endpoint is not None and not endpoint.startswith(("http://", "https://")):
            yield f"--store_endpoint {endpoint}: must begin with https:// or http://"


def describe_given() -> str:
    """Return this job's store flags, to append to a command that reads its output.

    Returns:
      Flags and values, each after a space; "" if no flag is set.
    """
    settings = clients.read_settings()
    flags = {
        "endpoint": settings.endpoint,
        "region": settings.region,
        "anonymous": settings.is_anonymous,
    }
    words = [
        f"--store_{name}={shlex.quote(str(value).lower() if value is True else value)}"
        for name, value in flags.items()
        if value
    ]
    return "".join(f" {word}" for word in words)


def describe_copy(source: str, target: str) -> str:
    """Return the gcloud or aws command that downloads a folder; "" if it is local.

    Args:
      source: URL of the folder.
      target: local folder to create; its name must be the last part of the source.
    """
    settings = clients.read_settings()
    endpoint, region = settings.endpoint, settings.region
    scheme = source.partition("://")[0]
    source, target = shlex.quote(source), shlex.quote(target)
    if scheme == "gs":
        words = [f"gcloud storage cp --recursive {source} ."]
        if settings.is_anonymous:
            words.insert(0, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true")
        if endpoint:
            place = shlex.quote(f"{endpoint}/storage/v1/")
            words.insert(0, f"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE={place}")
        return " ".join(words)
    if scheme != "s3":
        return ""
    words = [f"aws s3 cp --recursive {source} {target}"]
    words += [f"--endpoint-url={shlex.quote(endpoint)}"] if endpoint else []
    words += [f"--region={shlex.quote(region)}"] if region else []
    words += ["--no-sign-request"] if settings.is_anonymous else []
    return " ".join(words)


def settle(flags: StoreFlags, beam_flags: Sequence[str] = ()) -> list[str]:
    """Configure the stores of this process and of its pipelines' workers.

    Returns:
      Beam's flags, and the flags that pass the settings to workers.
    """
    settings = StoreSettings(
        endpoint=flags.store_endpoint,
        region=flags.store_region,
        is_anonymous=flags.store_anonymous,
    )
    clients.configure(settings)
    if settings == StoreSettings():
        return list(beam_flags)
    # Beam imports slowly and is not needed for local paths.
    from pipelines import worker_options  # noqa: PLC0415

    carrier = worker_options.to_flag(settings)
    return [*beam_flags, f"--beam_plugins={_WORKERS}", carrier]
