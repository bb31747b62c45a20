"""An engine that loses elements, as Beam's DaskRunner and multi_threading mode do."""

import apache_beam as beam
from apache_beam.pipeline import PTransformOverride
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


class LossyRunner(FnApiRunner):
    """Loses the first element of every bundle before the step `loses`."""

    loses = ""

    def run_pipeline(self, pipeline, options):
        pipeline.replace_all([_LoseBefore(self.loses)])
        return super().run_pipeline(pipeline, options)


class _LoseBefore(PTransformOverride):
    def __init__(self, step):
        self._step = step

    def matches(self, applied_ptransform):
        return applied_ptransform.full_label.rpartition("/")[2] == self._step

    def get_replacement_transform_for_applied_ptransform(self, applied_ptransform):
        return _Lossy(applied_ptransform.transform)


class _Lossy(beam.PTransform):
    def __init__(self, whole):
        super().__init__()
        self._whole = whole

    def expand(self, elements):
        if isinstance(elements, tuple):  # with side inputs, which `whole` knows
            elements = elements[0]
        return elements | "Lose" >> beam.ParDo(_LoseFirst()) | "Whole" >> self._whole


class _LoseFirst(beam.DoFn):
    def start_bundle(self):
        self._is_first = True

    def process(self, element):
        if not self._is_first:
            yield element
        self._is_first = False
