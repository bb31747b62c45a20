"""Refs of images → what models say of them: read, decoded and asked by threads.

refs ── read, decode, crop ── batch of exactly batch_size ── model ── scores
        (threads, in order)   (the last one padded)          (threads, in order)

What a batch holds is decided by the refs alone, so that scores are the same for any
number of threads and workers.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import progress, storage
from transforms.image_bytes import describe_place
from transforms.models import loading, preprocessing, scoring
from transforms.models.card import ModelCard, Preprocessing
from transforms.models.image_list import Images
from transforms.models.loaded import LoadedModel, ModelError
from transforms.models.scoring import Tally
from transforms.nearby_images import NearbyReader, PlacedRef, ReadImage
from transforms.reading_ahead import in_order
from transforms.records import DataError, Failure, ImageRef, JobError
from transforms.tables import predictions_table
from transforms.tables.predictions_table import ScoredModel

NO_LABEL = -1  # a failure's, which counts in no dataset
_ON_GPU_AT_ONCE = 2  # one is asked while the next is brought there
_REMEDY = "mend `output` or `preprocessing` in its card"

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskedModel:
    """One model, and what is right."""

    path: str
    card: ModelCard
    scored: ScoredModel
    right: Mapping[str, tuple[int, ...]]  # wnid → outputs; others are not scored
    keys_file: str = ""  # the images it has seen; "": nobody knows


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskSettings:
    """How models are asked."""

    models: tuple[AskedModel, ...]
    roots: Sequence[str]  # of the inputs
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by path
    batch_size: int
    num_threads: int
    keep_probabilities: bool = False
    ticks: str | None = None


class Answered(NamedTuple):
    """What the models say of some images: a table and a tally each, in their order."""

    tables: tuple[pa.Table, ...]
    tallies: tuple[Tally, ...]
    failures: tuple[Failure, ...]


def load_model(asked: AskedModel, batch_size: int) -> LoadedModel:
    """Load a model for batches of one size.

    Raises: ModelError: it cannot be loaded safely, or does not fit its card.
    """
    shape = preprocessing.input_shape(asked.card.preprocessing)
    return loading.load(asked.path, (batch_size, *shape), len(asked.card.classes))


def ask_once(
    asked: AskedModel, model: LoadedModel, pixels: Pixels, batch_size: int
) -> npt.NDArray[np.floating]:
    """Ask a model of at most a batch of pictures.

    Raises: ModelError: it fails, or does not give one number a class.
    """
    num_missing = batch_size - len(pixels)
    padded = np.pad(pixels, ((0, num_missing), (0, 0), (0, 0), (0, 0)))
    given = preprocessing.make_batch(padded, asked.card.preprocessing)
    outputs = model.ask(given)
    wanted = (batch_size, len(asked.card.classes))
    if outputs.shape != wanted:
        raise ModelError(f"gives outputs of shape {outputs.shape}, not {wanted}")
    return outputs[: len(pixels)]


def geometry(settings: Preprocessing) -> Preprocessing:
    """Strip what is done to batches, so that models share the pictures they can."""
    return Preprocessing(resize_px=settings.resize_px, crop_px=settings.crop_px)


class Asker:
    """Asks loaded models of images, with pools of threads."""

    def __init__(self, settings: AskSettings, models: Sequence[LoadedModel]) -> None:
        self._settings = settings
        self._models = models
        self._geometries = sorted(
            {geometry(asked.card.preprocessing) for asked in settings.models}, key=repr
        )
        is_on_gpu = any(model.is_on_gpu for model in models)
        self._num_at_once = _ON_GPU_AT_ONCE if is_on_gpu else settings.num_threads
        num_readers = storage.num_readers(settings.num_threads, settings.roots)
        self._readers = ThreadPoolExecutor(num_readers)
        self._nearby = NearbyReader()
        self._askers = ThreadPoolExecutor(self._num_at_once)
        self._ticker = progress.Ticker(settings.ticks)

    @classmethod
    def load(cls, settings: AskSettings) -> "Asker":
        """Load all models.

        Raises: JobError: one that could be loaded at launch cannot be now.
        """
        models = []
        for asked in settings.models:
            try:
                models.append(load_model(asked, settings.batch_size))
            except ModelError as error:
                raise JobError(f"{asked.path}: {error}") from error
        return cls(settings, models)

    def ask(self, images: Images) -> Answered:
        """Ask every model of the images of a chunk."""
        answered = list(self._ask_all(images))
        num_models = len(self._models)
        return Answered(
            tuple(
                pa.concat_tables(a.tables[n] for a in answered)
                for n in range(num_models)
            ),
            tuple(
                functools.reduce(Tally.plus, (a.tallies[n] for a in answered))
                for n in range(num_models)
            ),
            tuple(failure for a in answered for failure in a.failures),
        )

    def _ask_all(self, images: Images) -> Iterator[Answered]:
        """Yield every batch's answers in order, a bounded number of batches ahead."""
        size = self._settings.batch_size
        batches = (
            Images(
                images.refs[start : start + size],
                [values[start : start + size] for values in images.seen],
            )
            for start in range(0, len(images.refs), size)
        )
        return in_order(map(self._begin, batches), num_ahead=self._num_at_once)

    def _begin(self, batch: Images) -> Future[Answered]:
        reads = self._nearby.begin([self._place(ref) for ref in batch.refs])
        prepared = [self._readers.submit(self._prepare, read) for read in reads]
        return self._askers.submit(self._ask_batch, batch, prepared)

    def _place(self, ref: ImageRef) -> PlacedRef:
        root = self._settings.roots[ref.input]
        version = self._settings.versions.get(f"{root}/{ref.uri}", "")
        return PlacedRef(root, ref, version)

    def _prepare(self, read: ReadImage) -> list[Pixels] | DataError:
        """Read one image and make it all that the models take; an error is a result."""
        try:
            data = read()
            return [preprocessing.prepare(data, g) for g in self._geometries]
        except DataError as error:
            return error

    def _ask_batch(
        self, images: Images, prepared: Sequence[Future[list[Pixels] | DataError]]
    ) -> Answered:
        results = [future.result() for future in prepared]
        rows = [n for n, r in enumerate(results) if not isinstance(r, DataError)]
        pictures = [r for r in results if not isinstance(r, DataError)]
        pixels = {
            g: np.stack([picture[n] for picture in pictures]) if rows else None
            for n, g in enumerate(self._geometries)
        }
        good = Images(
            [images.refs[row] for row in rows],
            [[values[row] for row in rows] for values in images.seen],
        )
        scored = [
            self._ask_model(number, good, pixels[geometry(asked.card.preprocessing)])
            for number, asked in enumerate(self._settings.models)
        ]
        self._ticker.tick(len(results))
        failures = tuple(
            describe_failure(ref, result)
            for ref, result in zip(images.refs, results, strict=True)
            if isinstance(result, DataError)
        )
        return Answered(
            tuple(table for table, _ in scored), tuple(t for _, t in scored), failures
        )

    def _ask_model(
        self, number: int, images: Images, pixels: Pixels | None
    ) -> tuple[pa.Table, Tally]:
        """Ask one model of a batch; images that it cannot be right of are left out."""
        asked = self._settings.models[number]
        outputs: npt.NDArray[np.floating] = np.zeros((0, len(asked.card.classes)))
        if pixels is not None:
            outputs = self._ask_checked(number, images.refs, pixels)
        scored = [n for n, ref in enumerate(images.refs) if ref.wnid in asked.right]
        refs = [images.refs[n] for n in scored]
        scores, tally = scoring.score(
            scoring.to_probabilities(outputs[scored], asked.card.output),
            [asked.right[ref.wnid] for ref in refs],
            keep_probabilities=self._settings.keep_probabilities,
        )
        table = predictions_table.make_table(
            scores,
            model=asked.scored,
            keys=[ref.key for ref in refs],
            splits=[ref.split for ref in refs],
            wnids=[ref.wnid for ref in refs],
            seen=[images.seen[number][n] for n in scored],
        )
        return table, tally

    def _ask_checked(
        self, number: int, refs: Sequence[ImageRef], pixels: Pixels
    ) -> npt.NDArray[np.floating]:
        asked = self._settings.models[number]
        size = self._settings.batch_size
        try:
            outputs = ask_once(asked, self._models[number], pixels, size)
        except ModelError as error:
            raise JobError(f"{asked.path}: {error}") from error
        if bad := scoring.find_bad_row(outputs, asked.card.output):
            row, what = bad
            raise JobError(
                f"{asked.path}: {refs[row].key} ({describe_place(refs[row])}) {what}; "
                f"{_REMEDY}"
            )
        return outputs


def describe_failure(ref: ImageRef, error: DataError) -> Failure:
    """Make a row of failures.csv."""
    place = describe_place(ref)
    return Failure(ref.key, ref.split, NO_LABEL, ref.wnid, place, str(error))
