"""The flags of every job that reads or writes buckets, and how they reach workers."""

import dataclasses
from collections.abc import Iterator, Sequence

from pipelines.cli import flag
from transforms.storage.clients import StoreSettings, configure

_HEADING = "buckets (gs://, s3://)"
_WORKERS = "pipelines.worker_options"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreFlags:
    """What is not as Google's and Amazon's stores are by default.

    Credentials are those of the environment: Google's application-default ones,
    Amazon's variables, profiles and roles.
    """

    store_endpoint: str | None = flag(
        "the store's address where it is another's than Google's or Amazon's "
        "(STORAGE_EMULATOR_HOST, AWS_ENDPOINT_URL)",
        default=None,
        metavar="URL",
        heading=_HEADING,
    )
    store_region: str | None = flag(
        "region of an s3:// bucket (AWS_REGION)",
        default=None,
        metavar="NAME",
        heading=_HEADING,
    )
    store_anonymous: bool = flag(
        "ask without credentials: public buckets, emulators",
        default=False,
        heading=_HEADING,
    )

    def find_store_problems(self) -> Iterator[str]:
        """Yield what is wrong with these flags."""
        endpoint = self.store_endpoint
        if endpoint is not None and {"@", "?"} & set(endpoint):
            yield (  # what stands there may be secret, and flags are logged
                "--store_endpoint: must be an address alone; keys are taken from the "
                "environment"
            )
        elif endpoint is not None and not endpoint.startswith(("http://", "https://")):
            yield f"--store_endpoint {endpoint}: must begin with https:// or http://"


def settle(flags: StoreFlags, beam_flags: Sequence[str] = ()) -> list[str]:
    """Let this process, and the workers of its pipelines, reach stores by the flags.

    Returns: Beam's flags, with what carries the settings to workers.
    """
    settings = StoreSettings(
        endpoint=flags.store_endpoint,
        region=flags.store_region,
        is_anonymous=flags.store_anonymous,
    )
    configure(settings)
    if settings == StoreSettings():
        return list(beam_flags)
    # Beam's import takes a second, which local paths need not wait for.
    from pipelines import worker_options  # noqa: PLC0415

    told = worker_options.to_flag(settings)
    return [*beam_flags, f"--beam_plugins={_WORKERS}", told]
