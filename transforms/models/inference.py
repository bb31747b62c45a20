"""The bytes of a picture → the numbers that a model is asked with, as its card says."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cykooz_resizer import CropBox
from PIL import Image

from transforms import progress, storage
from transforms.images import decode, resize
from transforms.images.read import CoalescedReader, PlacedRef, ReadImage, describe_place
from transforms.images.settings import ImageSettings, target_size
from transforms.models import loaders
from transforms.models.card import ModelCard, Preprocessing
from transforms.models.image_list import Images
from transforms.models.loaders.loaded_model import LoadedModel, ModelError
from transforms.predictions import table as predictions_table
from transforms.predictions.table import NUM_TOP, ScoredModel, Scores
from transforms.prefetch import map_in_order
from transforms.records import DataError, Failure, ImageRef, JobError

_GREY = 127


def prepare(data: bytes, settings: Preprocessing) -> npt.NDArray[np.uint8]:
    """Make the middle square of a picture: upright, in RGB, at the model's size.

    Returns: Shape (crop_px, crop_px, 3).
    Raises: DataError: the bytes are no picture, are broken, or are out of bounds.
    """
    image = decode.open_image(data)
    orientation = decode.find_orientation(image)
    shorter = ImageSettings(image_size=settings.resize_px, upscale=True)
    size = target_size(*image.size, shorter)  # of the picture as it lies
    if size[0] * size[1] > decode.MAX_PIXELS:
        raise DataError(
            f"image of {image.width}x{image.height} pixels would become one of "
            f"{size[0]}x{size[1]}, over the bound of {decode.MAX_PIXELS} pixels"
        )
    shrink = min(image.width / size[0], image.height / size[1])
    box = (0, 0, *image.size)
    pixels = decode.decode(image, shrink)
    resized = resize.resize(
        pixels.image, size, CropBox(*(length / pixels.scale for length in box))
    )
    upright = resize.turn_upright(resized, orientation)
    return np.asarray(_crop_middle(upright, settings.crop_px).convert("RGB"))


def _crop_middle(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def make_grey(settings: Preprocessing) -> npt.NDArray[np.uint8]:
    """Make a picture of one grey."""
    return np.full((settings.crop_px, settings.crop_px, 3), _GREY, np.uint8)


def input_shape(settings: Preprocessing) -> tuple[int, int, int]:
    """Return the shape of one picture as the model takes it."""
    side = settings.crop_px
    return (side, side, 3) if settings.layout == "channels_last" else (3, side, side)


def make_batch(
    pictures: npt.NDArray[np.uint8], settings: Preprocessing
) -> npt.NDArray[np.float32]:
    """Turn pictures, shape (images, crop_px, crop_px, 3), into a model's input."""
    batch = pictures.astype(np.float32)
    batch -= np.asarray(settings.mean, np.float32)
    batch /= np.asarray(settings.std, np.float32)
    if settings.channel_order == "bgr":
        batch = batch[..., ::-1]
    if settings.layout == "channels_first":
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch)


_SUM_TOLERANCE = 1e-3
_NEGATIVE_TOLERANCE = 1e-6


class Tally(NamedTuple):
    """How right a model is on some images."""

    num_images: int = 0
    num_top1: int = 0  # the likeliest output is right
    num_top5: int = 0  # one of the five likeliest is
    num_right: int = 0  # outputs that are right, over all images
    sum_correct: float = 0.0  # of the probabilities of the right answers

    def plus(self, other: "Tally") -> "Tally":
        """Add two tallies; the order of the sum decides its last digits."""
        return Tally(
            self.num_images + other.num_images,
            self.num_top1 + other.num_top1,
            self.num_top5 + other.num_top5,
            self.num_right + other.num_right,
            self.sum_correct + other.sum_correct,
        )


def find_bad_row(
    outputs: npt.NDArray[np.floating], kind: str
) -> tuple[int, str] | None:
    """Find the first image whose outputs cannot be what the card says they are.

    Args:
      outputs: shape (images, outputs).
      kind: probabilities | logits.
    Returns: Its row and what is wrong with it; None when all are fine.
    """
    values = outputs.astype(np.float64)
    finite = np.all(np.isfinite(values), axis=1)
    checks = [(finite, "has outputs that are no numbers")]
    if kind == "probabilities":
        with np.errstate(invalid="ignore"):
            sums = values.sum(axis=1)
            lowest = values.min(axis=1)
        checks += [
            (~(lowest < -_NEGATIVE_TOLERANCE), "has outputs below 0"),
            (~(np.abs(sums - 1) > _SUM_TOLERANCE), "has outputs that do not sum to 1"),
        ]
    bad = np.flatnonzero(~np.all([is_good for is_good, _ in checks], axis=0))
    if not len(bad):
        return None
    row = int(bad[0])
    return row, next(what for is_good, what in checks if not is_good[row])


def to_probabilities(
    outputs: npt.NDArray[np.floating], kind: str
) -> npt.NDArray[np.float64]:
    """Make probabilities of outputs, shape (images, outputs)."""
    values = outputs.astype(np.float64)
    if kind == "probabilities":
        return np.clip(values, 0, None)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def score(
    probabilities: npt.NDArray[np.float64],
    right: Sequence[tuple[int, ...]],
    *,
    keep_probabilities: bool,
) -> tuple[Scores, Tally]:
    """Score a model's answers.

    Args:
      probabilities: shape (images, outputs).
      right: the outputs that are right for each image, ascending.
      keep_probabilities: whether to keep them all, as float16.
    """
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :NUM_TOP]
    sums = np.zeros(len(right))
    num_top1 = num_top5 = 0
    for row, outputs in enumerate(right):
        for output in outputs:
            sums[row] += probabilities[row, output]
        best = top[row].tolist()
        num_top1 += best[0] in outputs
        num_top5 += not set(outputs).isdisjoint(best)
    p_correct = np.minimum(sums, 1).astype(np.float32)
    kept = np.minimum(probabilities, 1).astype(np.float16)
    scores = Scores(
        p_correct, top.astype(np.uint16), kept if keep_probabilities else None
    )
    sum_correct = float(p_correct.sum(dtype=np.float64))
    num_right = sum(map(len, right))
    return scores, Tally(len(right), num_top1, num_top5, num_right, sum_correct)


def is_at_chance(tally: Tally, num_outputs: int) -> bool:
    """Tell whether guessing might well be as right: within two deviations."""
    chance = tally.num_right / (num_outputs * max(tally.num_images, 1))
    deviation = (tally.num_images * chance * (1 - chance)) ** 0.5
    return chance < 1 and tally.num_top1 <= tally.num_images * chance + 2 * deviation


NO_LABEL = -1  # a failure's, which counts in no dataset
_ON_GPU_AT_ONCE = 2  # one is asked while the next is brought there
_REMEDY = "mend `output` or `preprocessing` in its card"

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model, and what is right."""

    path: str
    card: ModelCard
    scored: ScoredModel
    right: Mapping[str, tuple[int, ...]]  # wnid → outputs; others are not scored
    keys_file: str = ""  # the images it has seen; "": nobody knows


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """How models are asked."""

    models: tuple[ModelSpec, ...]
    roots: Sequence[str]  # of the inputs
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)  # by path
    batch_size: int
    num_threads: int
    keep_probabilities: bool = False
    ticks: str | None = None


class ChunkPredictions(NamedTuple):
    """What the models say of some images: a table and a tally each, in their order."""

    tables: tuple[pa.Table, ...]
    tallies: tuple[Tally, ...]
    failures: tuple[Failure, ...]


def load_model(asked: ModelSpec, batch_size: int) -> LoadedModel:
    """Load a model for batches of one size.

    Raises: ModelError: it cannot be loaded safely, or does not fit its card.
    """
    shape = input_shape(asked.card.preprocessing)
    return loaders.load(asked.path, (batch_size, *shape), len(asked.card.classes))


def predict_once(
    asked: ModelSpec, model: LoadedModel, pixels: Pixels, batch_size: int
) -> npt.NDArray[np.floating]:
    """Ask a model of at most a batch of pictures.

    Raises: ModelError: it fails, or does not give one number a class.
    """
    num_missing = batch_size - len(pixels)
    padded = np.pad(pixels, ((0, num_missing), (0, 0), (0, 0), (0, 0)))
    given = make_batch(padded, asked.card.preprocessing)
    outputs = model.ask(given)
    wanted = (batch_size, len(asked.card.classes))
    if outputs.shape != wanted:
        raise ModelError(f"gives outputs of shape {outputs.shape}, not {wanted}")
    return outputs[: len(pixels)]


def geometry(settings: Preprocessing) -> Preprocessing:
    """Strip what is done to batches, so that models share the pictures they can."""
    return Preprocessing(resize_px=settings.resize_px, crop_px=settings.crop_px)


class Predictor:
    """Asks loaded models of images, with pools of threads."""

    def __init__(
        self, settings: InferenceSettings, models: Sequence[LoadedModel]
    ) -> None:
        self._settings = settings
        self._models = models
        self._geometries = sorted(
            {geometry(asked.card.preprocessing) for asked in settings.models}, key=repr
        )
        is_on_gpu = any(model.is_on_gpu for model in models)
        self._num_at_once = _ON_GPU_AT_ONCE if is_on_gpu else settings.num_threads
        num_readers = storage.num_readers(settings.num_threads, settings.roots)
        self._readers = ThreadPoolExecutor(num_readers)
        self._nearby = CoalescedReader()
        self._askers = ThreadPoolExecutor(self._num_at_once)
        self._ticker = progress.Ticker(settings.ticks)

    @classmethod
    def load(cls, settings: InferenceSettings) -> "Predictor":
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

    def ask(self, images: Images) -> ChunkPredictions:
        """Ask every model of the images of a chunk."""
        answered = list(self._ask_all(images))
        num_models = len(self._models)
        return ChunkPredictions(
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

    def _ask_all(self, images: Images) -> Iterator[ChunkPredictions]:
        """Yield every batch's answers in order, a bounded number of batches ahead."""
        size = self._settings.batch_size
        batches = (
            Images(
                images.refs[start : start + size],
                [values[start : start + size] for values in images.seen],
            )
            for start in range(0, len(images.refs), size)
        )
        return map_in_order(map(self._begin, batches), num_ahead=self._num_at_once)

    def _begin(self, batch: Images) -> Future[ChunkPredictions]:
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
            return [prepare(data, g) for g in self._geometries]
        except DataError as error:
            return error

    def _ask_batch(
        self, images: Images, prepared: Sequence[Future[list[Pixels] | DataError]]
    ) -> ChunkPredictions:
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
        return ChunkPredictions(
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
        scores, tally = score(
            to_probabilities(outputs[scored], asked.card.output),
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
            outputs = predict_once(asked, self._models[number], pixels, size)
        except ModelError as error:
            raise JobError(f"{asked.path}: {error}") from error
        if bad := find_bad_row(outputs, asked.card.output):
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
