"""Declare the flags of object stores and pass their settings to workers."""

import dataclasses
from collections.abc import Iterator, Sequence

from transforms.options import flag
from transforms.storage.clients import StoreSettings, configure

_HEADING = "buckets (gs://, s3://)"
_WORKERS = "pipelines.worker_options"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreFlags:
    """Settings of object stores other than Google's and Amazon's.

    Credentials come from the environment: Google's application default credentials,
    or Amazon's variables, profiles and roles.
    """

    store_endpoint: str | None = flag(
        "URL of a store other than Google's or Amazon's (default: "
        "STORAGE_EMULATOR_HOST or AWS_ENDPOINT_URL)",
        default=None,
        metavar="URL",
        heading=_HEADING,
    )
    store_region: str | None = flag(
        "region of s3:// buckets (default: AWS_REGION)",
        default=None,
        metavar="NAME",
        heading=_HEADING,
    )
    store_anonymous: bool = flag(
        "send no credentials: for public buckets and emulators",
        default=False,
        heading=_HEADING,
    )

    def find_store_problems(self) -> Iterator[str]:
        """Yield a message for each invalid combination of store flags."""
        endpoint = self.store_endpoint
        if endpoint is not None and {"@", "?"} & set(endpoint):
            yield (  # without the value, which may be secret: flags are logged
                "--store_endpoint: must be a URL without credentials; credentials come "
                "from the environment"
            )
        elif endpoint is not None and not endpoint.startswith(("http://", "https://")):
            yield f"--store_endpoint {endpoint}: must begin with https:// or http://"


def settle(flags: StoreFlags, beam_flags: Sequence[str] = ()) -> list[str]:
    """Configure the stores of this process and of its pipelines' workers.

    Returns:
      Beam's flags, extended by those that carry the settings to workers.
    """
    settings = StoreSettings(
        endpoint=flags.store_endpoint,
        region=flags.store_region,
        is_anonymous=flags.store_anonymous,
    )
    configure(settings)
    if settings == StoreSettings():
        return list(beam_flags)
    # Beam imports slowly and is not needed for local paths.
    from pipelines import worker_options  # noqa: PLC0415

    carrier = worker_options.to_flag(settings)
    return [*beam_flags, f"--beam_plugins={_WORKERS}", carrier]
