"""Run models on images: preprocessing, batched inference and scoring."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

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
from transforms.models.card import Preprocessing
from transforms.models.image_chunks import Images
from transforms.models.loaders.loaded_model import LoadedModel, ModelError
from transforms.models.spec import ModelSpec
from transforms.predictions import table as predictions_table
from transforms.predictions.table import NUM_TOP, Scores
from transforms.prefetch import map_in_order
from transforms.records import DataError, Failure, ImageRef, JobError

NO_LABEL = -1  # label of failures in inference, which is independent of a dataset
_GREYS = (127, 63, 191)
_SUM_TOLERANCE = 1e-3
_NEGATIVE_TOLERANCE = 1e-6
_NUM_GPU_BATCHES = 2  # one is computed while the next is copied to the GPU
_REMEDY = "correct `output` or `preprocessing` in its card"

Pixels: TypeAlias = npt.NDArray[np.uint8]


class AccuracyCounts(NamedTuple):
    """Counts from which a model's accuracy on a set of images is computed."""

    num_images: int = 0
    num_top1: int = 0  # images whose likeliest output is correct
    num_top5: int = 0  # images with a correct output among the five likeliest
    num_correct_outputs: int = 0  # correct outputs, summed over all images
    sum_correct: float = 0.0  # sum of p_correct

    def plus(self, other: "AccuracyCounts") -> "AccuracyCounts":
        """Return the sum of two counts.

        The last digits of `sum_correct` depend on the order of additions.
        """
        return AccuracyCounts(
            self.num_images + other.num_images,
            self.num_top1 + other.num_top1,
            self.num_top5 + other.num_top5,
            self.num_correct_outputs + other.num_correct_outputs,
            self.sum_correct + other.sum_correct,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """Settings of an inference run, which may use several models.

    Attributes:
      models: models to run.
      roots: roots of the inputs, indexed by `ImageRef.input`.
      versions: expected version of each archive, by path.
      batch_size: images per inference batch.
      num_threads: number of threads for decoding, and for inference on a CPU.
      keep_probabilities: whether to store the probabilities of all outputs.
      ticks: file for reporting progress; None to report no progress.
    """

    models: tuple[ModelSpec, ...]
    roots: Sequence[str]
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    batch_size: int
    num_threads: int
    keep_probabilities: bool = False
    ticks: str | None = None


class ChunkPredictions(NamedTuple):
    """Predictions of all models for a chunk or batch, and its unreadable images.

    `tables` and `accuracy_counts` have one entry per model.
    """

    tables: tuple[pa.Table, ...]
    accuracy_counts: tuple[AccuracyCounts, ...]
    failures: tuple[Failure, ...]


def preprocess(data: bytes, settings: Preprocessing) -> Pixels:
    """Decode an image, turn it upright, resize it and crop its centre.

    Returns:
      RGB pixels, uint8, shape (crop_px, crop_px, 3).

    Raises:
      DataError: the bytes are not an image, are damaged or exceed a size limit.
    """
    image = decode.open_image(data)
    orientation = decode.find_orientation(image)
    shorter = ImageSettings(image_size=settings.resize_px, upscale=True)
    size = target_size(*image.size, shorter)  # before the EXIF rotation
    if size[0] * size[1] > decode.MAX_PIXELS:
        raise DataError(
            f"image of {image.width}x{image.height} pixels would be resized to "
            f"{size[0]}x{size[1]}, over the bound of {decode.MAX_PIXELS} pixels"
        )
    shrink = min(image.width / size[0], image.height / size[1])
    box = (0, 0, *image.size)
    pixels = decode.decode(image, shrink)
    resized = resize.resize(
        pixels.image, size, CropBox(*(length / pixels.scale for length in box))
    )
    upright = resize.turn_upright(resized, orientation)
    return np.asarray(_crop_centre(upright, settings.crop_px).convert("RGB"))


def _crop_centre(image: Image.Image, side_px: int) -> Image.Image:
    left, top = (image.width - side_px) // 2, (image.height - side_px) // 2
    return image.crop((left, top, left + side_px, top + side_px))


def make_greys(settings: Preprocessing) -> Pixels:
    """Create uniformly grey test images, uint8, shape (greys, crop_px, crop_px, 3)."""
    shape = len(_GREYS), settings.crop_px, settings.crop_px, 3
    return np.broadcast_to(np.array(_GREYS, np.uint8)[:, None, None, None], shape)


def input_shape(settings: Preprocessing) -> tuple[int, int, int]:
    """Return the shape of one input image in the model's layout."""
    side = settings.crop_px
    return (side, side, 3) if settings.layout == "channels_last" else (3, side, side)


def make_batch(pixels: Pixels, settings: Preprocessing) -> npt.NDArray[np.float32]:
    """Normalise RGB images and convert them to a model's channel order and layout.

    Args:
      pixels: shape (images, crop_px, crop_px, 3).
      settings: preprocessing of the model.

    Returns:
      Float32 array, shape (images, *input_shape(settings)).
    """
    batch = pixels.astype(np.float32)
    batch -= np.asarray(settings.mean, np.float32)
    batch /= np.asarray(settings.std, np.float32)
    if settings.channel_order == "bgr":
        batch = batch[..., ::-1]
    if settings.layout == "channels_first":
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch)


def load_model(spec: ModelSpec, batch_size: int) -> LoadedModel:
    """Load a model for batches of `batch_size` images.

    Raises:
      ModelError: the model has changed since it was described, cannot be loaded safely
        or does not match its card.
    """
    shape = input_shape(spec.card.preprocessing)
    path = loaders.stage(spec.path, spec.scored.model_id)
    return loaders.load(path, (batch_size, *shape), spec.card.num_outputs)


def predict_batch(
    spec: ModelSpec, model: LoadedModel, pixels: Pixels, batch_size: int
) -> npt.NDArray[np.floating]:
    """Run a model on one batch of images, padded to the batch size.

    Args:
      spec: description of the model.
      model: model that was loaded for batches of `batch_size` images.
      pixels: shape (images, crop_px, crop_px, 3), at most `batch_size` images.
      batch_size: batch size that the model was loaded for.

    Returns:
      Shape (images, outputs).

    Raises:
      ModelError: inference fails, or the outputs are not one number per class.
    """
    num_missing = batch_size - len(pixels)
    padded = np.pad(pixels, ((0, num_missing), (0, 0), (0, 0), (0, 0)))
    outputs = model.predict(make_batch(padded, spec.card.preprocessing))
    expected = (batch_size, spec.card.num_outputs)
    if outputs.shape != expected:
        raise ModelError(f"returns outputs of shape {outputs.shape}, not {expected}")
    return outputs[: len(pixels)]


def find_bad_row(
    outputs: npt.NDArray[np.floating], kind: str
) -> tuple[int, str] | None:
    """Find the first image with invalid outputs.

    Args:
      outputs: shape (images, outputs).
      kind: probabilities | logits.

    Returns:
      The row of that image and its problem; None if all rows are valid.
    """
    values = outputs.astype(np.float64)
    is_finite = np.all(np.isfinite(values), axis=1)
    checks = [(is_finite, "has outputs that are not finite")]
    if kind == "probabilities":
        with np.errstate(invalid="ignore"):
            sums = values.sum(axis=1)
            lowest = values.min(axis=1)
        checks += [
            (~(lowest < -_NEGATIVE_TOLERANCE), "has outputs below 0"),
            (~(np.abs(sums - 1) > _SUM_TOLERANCE), "has outputs that do not sum to 1"),
        ]
    bad_rows = np.flatnonzero(~np.all([is_good for is_good, _ in checks], axis=0))
    if not len(bad_rows):
        return None
    row = int(bad_rows[0])
    return row, next(problem for is_good, problem in checks if not is_good[row])


def infer_output_type(outputs: npt.NDArray[np.floating]) -> str:
    """Infer the type of a model's outputs from their values.

    Args:
      outputs: shape (images, outputs).

    Returns:
      "probabilities" (rows sum to 1), "percentages" (rows sum to 100), "independent
      probabilities" (0 to 1 with other sums, e.g. from a sigmoid), or "" if the values
      fit none of these.
    """
    values = outputs.astype(np.float64)
    sums, highest = values.sum(axis=1), values.max(axis=1)
    if not (values >= -_NEGATIVE_TOLERANCE).all():
        return ""
    if (np.abs(sums - 1) <= _SUM_TOLERANCE).all():
        return "probabilities"
    if (np.abs(sums / 100 - 1) <= _SUM_TOLERANCE).all():
        return "percentages"
    return "independent probabilities" if (highest <= 1).all() else ""


def to_probabilities(
    outputs: npt.NDArray[np.floating], kind: str, unused: Sequence[int] = ()
) -> npt.NDArray[np.float64]:
    """Convert model outputs to class probabilities.

    Args:
      outputs: shape (images, outputs).
      kind: probabilities | logits; a softmax is applied to logits, and negative
        probabilities (rounding errors) become 0.
      unused: indices of outputs that represent no class. They are removed, and the
        remaining probabilities are rescaled to sum to 1; if all are 0, they become
        equal.

    Returns:
      Shape (images, classes).
    """
    values = np.delete(outputs.astype(np.float64), unused, axis=1)
    if kind == "logits":
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)
    values = np.clip(values, 0, None)
    if not unused:
        return values
    sums = values.sum(axis=1, keepdims=True)
    equal = np.full_like(values, 1 / values.shape[1])
    return np.divide(values, sums, out=equal, where=sums > 0)


def score(
    probabilities: npt.NDArray[np.float64],
    correct_outputs: Sequence[tuple[int, ...]],
    *,
    keep_probabilities: bool,
) -> tuple[Scores, AccuracyCounts]:
    """Compute each image's p_correct and top-5 outputs, and the accuracy counts.

    Args:
      probabilities: shape (images, outputs).
      correct_outputs: indices of the correct outputs of each image, in ascending order.
      keep_probabilities: whether to return the probabilities of all outputs, as
        float16.
    """
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :NUM_TOP]
    sums = np.zeros(len(correct_outputs))
    num_top1 = num_top5 = 0
    for row, outputs in enumerate(correct_outputs):
        for output in outputs:
            sums[row] += probabilities[row, output]
        likeliest = top[row].tolist()
        num_top1 += likeliest[0] in outputs
        num_top5 += not set(outputs).isdisjoint(likeliest)
    p_correct = np.minimum(sums, 1).astype(np.float32)
    kept = np.minimum(probabilities, 1).astype(np.float16)
    scores = Scores(
        p_correct, top.astype(np.uint16), kept if keep_probabilities else None
    )
    sum_correct = float(p_correct.sum(dtype=np.float64))
    num_correct_outputs = sum(map(len, correct_outputs))
    return scores, AccuracyCounts(
        len(correct_outputs), num_top1, num_top5, num_correct_outputs, sum_correct
    )


def find_chance(counts: AccuracyCounts, num_outputs: int) -> float:
    """Return the expected top-1 accuracy of uniform guessing, 0 to 1."""
    return counts.num_correct_outputs / (num_outputs * max(counts.num_images, 1))


def geometry(settings: Preprocessing) -> Preprocessing:
    """Return a copy of the settings that keeps only resize_px and crop_px.

    The copy identifies decoded images, which models with equal sizes share.
    """
    return Preprocessing(resize_px=settings.resize_px, crop_px=settings.crop_px)


class Predictor:
    """Runs loaded models on images, with thread pools for decoding and inference."""

    def __init__(
        self, settings: InferenceSettings, models: Sequence[LoadedModel]
    ) -> None:
        self._settings = settings
        self._models = models
        self._geometries = sorted(
            {geometry(spec.card.preprocessing) for spec in settings.models}, key=repr
        )
        is_on_gpu = any(model.is_on_gpu for model in models)
        self._num_batches = _NUM_GPU_BATCHES if is_on_gpu else settings.num_threads
        num_readers = storage.num_readers(settings.num_threads, settings.roots)
        self._reader_pool = ThreadPoolExecutor(num_readers)
        self._reader = CoalescedReader()
        self._inference_pool = ThreadPoolExecutor(self._num_batches)
        self._ticker = progress.Ticker(settings.ticks)

    @classmethod
    def load(cls, settings: InferenceSettings) -> "Predictor":
        """Load all models of the settings and create a predictor.

        Raises:
          JobError: a model cannot be loaded here, although the launcher loaded it.
        """
        models = []
        for spec in settings.models:
            try:
                models.append(load_model(spec, settings.batch_size))
            except ModelError as error:
                raise JobError(f"{spec.path}: {error}") from error
        return cls(settings, models)

    def predict(self, chunks: Sequence[Images]) -> list[ChunkPredictions]:
        """Run every model on the images of some chunks.

        Threads do not wait at the end of a chunk, so several chunks take less time
        together.

        Raises:
          JobError: inference fails, or outputs contradict a model's card.
        """
        batches = [list(self._divide(images)) for images in chunks]
        predictions = map_in_order(
            map(self._submit, itertools.chain.from_iterable(batches)),
            num_ahead=self._num_batches,
        )
        return [
            self._join(list(itertools.islice(predictions, len(batches_of_chunk))))
            for batches_of_chunk in batches
        ]

    def _divide(self, images: Images) -> Iterator[Images]:
        size = self._settings.batch_size
        for start in range(0, len(images.refs), size):
            yield Images(
                images.refs[start : start + size],
                [values[start : start + size] for values in images.seen],
            )

    def _join(self, batches: Sequence[ChunkPredictions]) -> ChunkPredictions:
        numbers = range(len(self._models))
        return ChunkPredictions(
            tuple(pa.concat_tables(b.tables[n] for b in batches) for n in numbers),
            tuple(
                functools.reduce(
                    AccuracyCounts.plus, (b.accuracy_counts[n] for b in batches)
                )
                for n in numbers
            ),
            tuple(failure for b in batches for failure in b.failures),
        )

    def _submit(self, batch: Images) -> Future[ChunkPredictions]:
        reads = self._reader.begin([self._locate(ref) for ref in batch.refs])
        prepared = [self._reader_pool.submit(self._preprocess, read) for read in reads]
        return self._inference_pool.submit(self._predict_batch, batch, prepared)

    def _locate(self, ref: ImageRef) -> PlacedRef:
        root = self._settings.roots[ref.input]
        version = self._settings.versions.get(f"{root}/{ref.uri}", "")
        return PlacedRef(root, ref, version)

    def _preprocess(self, read: ReadImage) -> list[Pixels] | DataError:
        """Read an image and preprocess it once per geometry.

        Returns:
          The pixels for each geometry, or the error if the image is unusable.
        """
        try:
            data = read()
            return [preprocess(data, g) for g in self._geometries]
        except DataError as error:
            return error

    def _predict_batch(
        self, images: Images, prepared: Sequence[Future[list[Pixels] | DataError]]
    ) -> ChunkPredictions:
        results = [future.result() for future in prepared]
        rows = [n for n, r in enumerate(results) if not isinstance(r, DataError)]
        decoded = [r for r in results if not isinstance(r, DataError)]
        pixels = {
            g: np.stack([image[n] for image in decoded]) if rows else None
            for n, g in enumerate(self._geometries)
        }
        readable = Images(
            [images.refs[row] for row in rows],
            [[values[row] for row in rows] for values in images.seen],
        )
        scored = [
            self._score_batch(n, readable, pixels[geometry(spec.card.preprocessing)])
            for n, spec in enumerate(self._settings.models)
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

    def _score_batch(
        self, model_number: int, images: Images, pixels: Pixels | None
    ) -> tuple[pa.Table, AccuracyCounts]:
        """Run one model on a batch and score it; drop images without a correct output.

        Args:
          model_number: index of the model in the settings.
          images: the readable images of the batch.
          pixels: shape (images, crop_px, crop_px, 3); None if there are no images.
        """
        spec = self._settings.models[model_number]
        outputs: npt.NDArray[np.floating] = np.zeros((0, spec.card.num_outputs))
        if pixels is not None:
            outputs = self._predict_checked(model_number, images.refs, pixels)
        rows = [
            n for n, ref in enumerate(images.refs) if ref.wnid in spec.correct_outputs
        ]
        refs = [images.refs[row] for row in rows]
        scores, counts = score(
            to_probabilities(outputs[rows], spec.card.output, spec.card.unused),
            [spec.correct_outputs[ref.wnid] for ref in refs],
            keep_probabilities=self._settings.keep_probabilities,
        )
        table = predictions_table.make_table(
            scores,
            model=spec.scored,
            keys=[ref.key for ref in refs],
            splits=[ref.split for ref in refs],
            wnids=[ref.wnid for ref in refs],
            seen=[images.seen[model_number][row] for row in rows],
        )
        return table, counts

    def _predict_checked(
        self, model_number: int, refs: Sequence[ImageRef], pixels: Pixels
    ) -> npt.NDArray[np.floating]:
        """Run one model on a batch and check its outputs.

        Args:
          model_number: index of the model in the settings.
          refs: the images, for messages.
          pixels: shape (images, crop_px, crop_px, 3).

        Returns:
          Shape (images, outputs).

        Raises:
          JobError: inference fails, or outputs contradict the model's card.
        """
        spec = self._settings.models[model_number]
        model, size = self._models[model_number], self._settings.batch_size
        try:
            outputs = predict_batch(spec, model, pixels, size)
        except ModelError as error:
            raise JobError(f"{spec.path}: {error}") from error
        if bad := find_bad_row(outputs, spec.card.output):
            row, problem = bad
            raise JobError(
                f"{spec.path}: {refs[row].key} ({describe_place(refs[row])}) "
                f"{problem}; {_REMEDY}"
            )
        return outputs


def describe_failure(ref: ImageRef, error: DataError) -> Failure:
    """Create the failures.csv row of an unreadable image."""
    place = describe_place(ref)
    return Failure(ref.key, ref.split, NO_LABEL, ref.wnid, place, str(error))
