"""Configure the stores of a Beam worker from its pipeline options.

Beam imports this module on every remote worker before any work starts, because
`store_flags.settle` names it in --beam_plugins. Processes on the launching machine
get no Beam options; they inherit the settings.
"""

import dataclasses
import json
from argparse import ArgumentParser

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

from transforms.storage.clients import StoreSettings, configure

_NAME = "bucket_settings"


class BucketOptions(PipelineOptions):
    """Declare --bucket_settings to Beam, which drops undeclared options."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument(f"--{_NAME}", help="set by --store_*")


def to_flag(settings: StoreSettings) -> str:
    """Return the Beam flag that passes the settings to workers."""
    return f"--{_NAME}={json.dumps(dataclasses.asdict(settings))}"


if settings_json := RuntimeValueProvider.get_value(_NAME, str, ""):
    configure(StoreSettings(**json.loads(settings_json)))
