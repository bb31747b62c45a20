"""Define the Beam steps that verify the parts of a dataset."""

import dataclasses
import json
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList

from transforms import storage
from transforms.verification.tasks import ARRIVED, TaskSettings, run_saved_task


def write_numbers(numbers: Sequence[int], work: str) -> None:
    """Write the numbers of the finished tasks, which the launcher checks."""
    storage.write(work, ARRIVED, json.dumps(sorted(numbers)).encode())


@dataclasses.dataclass
class RunTasks(beam.PTransform):
    """Run saved tasks, and write the numbers of those that have finished."""

    settings: TaskSettings

    def expand(self, numbers: PCollection[int]) -> PCollection[None]:
        """Distribute the tasks over workers; only their numbers pass between steps."""
        return (
            numbers
            | "SpreadTasks" >> beam.Reshuffle()
            | "RunTask" >> beam.Map(run_saved_task, settings=self.settings)
            | "GatherTasks" >> ToList()
            | "WriteNumbers" >> beam.Map(write_numbers, work=self.settings.work)
        )
