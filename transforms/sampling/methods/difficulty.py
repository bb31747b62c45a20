"""Select images by difficulty: a flat histogram, the easiest or the hardest first."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms import seeds
from transforms.arrays import Float32Array, IntegerArray
from transforms.difficulty import table as difficulty_table
from transforms.difficulty.table import NUM_BINS
from transforms.options import flag
from transforms.records import UsageError, list_names
from transforms.sampling.plan import (
    NEVER,
    SCOPES,
    MissingScoresError,
    SamplerOutput,
    SamplingRequest,
)

TABLES = ("difficulty",)
_RULES = ("flat", "easiest", "hardest")
_BINS = ("percent", "quantile")
_MISSING = ("error", "random")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of sampling by difficulty.

    Difficulty is measured by p_correct, the predicted probability of the correct class:
    0 for hard and 1 for easy images.
    """

    rule: str = flag(
        "flat: limit the images per bin, so that the histogram of difficulty is as "
        "flat as possible; easiest, hardest: select those images first",
        default="flat",
        choices=_RULES,
    )
    scope: str = flag(
        "images that are balanced together: group: the M images of each group; set: "
        "all N × M images together, so group sizes differ",
        default="group",
        choices=SCOPES,
    )
    bins: str = flag(
        "percent: 101 bins of p_correct, one per percent; quantile: 101 bins with "
        "equally many images, for p_correct concentrated near 0 and 1",
        default="percent",
        choices=_BINS,
    )
    drop_hardest: float = flag(
        "share of the hardest images that is excluded first, because wrong labels are "
        "frequent among them",
        default=0.0,
        minimum=0,
        below=1,
    )
    missing: str = flag(
        "images without a score: error: fail; random: use the score of another image "
        "of the scope, selected by hash",
        default="error",
        choices=_MISSING,
    )


def count_left_out(num_images: int, options: Options) -> int:
    """Return how many images `arrange` excludes from a scope as the hardest."""
    return _count_share(num_images, options.drop_hardest)


def _count_share(num_images: int, share: float) -> int:
    return int(Fraction(str(share)) * num_images) if 0 < share < 1 else 0


def arrange(request: SamplingRequest, options: Options) -> SamplerOutput:
    """Assign every image to a bin of difficulty, or order images by difficulty.

    The images excluded as hardest depend neither on M nor on the images held out for
    validation, so a larger subset contains every smaller one.

    Raises:
      MissingScoresError: there is no table of difficulty, or images have no score.
      UsageError: the table is invalid.

    Source: Gao (2021) caps the number of images per probability bin; Zheng et al.
      (ICLR 2023, "Coverage-centric coreset selection") exclude the hardest images.
    """
    if request.difficulty_file is None:
        raise MissingScoresError(
            "--difficulty: is required (the table that --sampling=difficulty reads)"
        )
    table = _read(request.difficulty_file)
    images = request.read_images()
    keys = images["key"].combine_chunks()
    scopes = np.zeros(len(keys), np.int64)
    if options.scope == "group":
        scopes = images["label"].to_numpy()
    p_correct = difficulty_table.look_up(table, keys)
    is_missing = np.isnan(p_correct)
    notes = []
    if is_missing.any():
        message = _describe_missing(keys, is_missing, request.difficulty_file)
        if options.missing == "error" or is_missing.all():
            raise MissingScoresError(message)
        notes.append(f"{message.split(';')[0]}; each is given another image's score")
        p_correct = fill(p_correct, scopes, keys, seed=request.seed)
    notes += difficulty_table.find_concentration(p_correct)
    hashes = seeds.orders(request.seed, "sample", keys.to_pylist())
    parts = find_parts(p_correct, scopes, options)
    if options.drop_hardest:
        dropped = find_hardest(p_correct, scopes, hashes, options.drop_hardest)
        parts[dropped] = NEVER
        notes.append(f"{dropped.sum()} of {len(keys)} images are left out as hardest")
    orders = (
        None
        if options.rule == "flat"
        else order_by_difficulty(
            p_correct, hashes, is_easiest_first=options.rule == "easiest"
        )
    )
    return SamplerOutput(
        parts=parts, orders=orders, scope=options.scope, notes=tuple(notes)
    )


def _read(path: str) -> pa.Table:
    try:
        return difficulty_table.read_table(path)
    except UsageError as error:
        raise UsageError(f"--difficulty {error}") from None


def _describe_missing(
    keys: pa.StringArray, is_missing: npt.NDArray[np.bool_], path: str
) -> str:
    shown = list_names(keys.filter(is_missing).to_pylist())
    return (
        f"--difficulty {path}: has no score for {is_missing.sum()} of {len(keys)} "
        f"training images of the groups ({shown}); score them too, or give "
        "--difficulty_missing=random"
    )


def fill(
    p_correct: Float32Array, scopes: IntegerArray, keys: pa.StringArray, *, seed: int
) -> Float32Array:
    """Fill missing scores with those of other images of the scope, selected by hash.

    In a scope without any score, the scores of all images are used.

    Args:
      p_correct: scores, shape (images,), 0 to 1; NaN is missing.
      scopes: number of each image's scope, shape (images,).
      keys: keys of the images, shape (images,).
      seed: seed of the hashes.

    Returns:
      All scores, shape (images,).
    """
    filled = p_correct.copy()
    everywhere = np.sort(p_correct[~np.isnan(p_correct)])
    for scope in np.unique(scopes[np.isnan(p_correct)]):
        positions = np.flatnonzero(scopes == scope)
        missing = positions[np.isnan(p_correct[positions])]
        scored = np.sort(p_correct[positions][~np.isnan(p_correct[positions])])
        donors = scored if len(scored) else everywhere
        places = seeds.orders(seed, "score", keys.take(missing).to_pylist())
        filled[missing] = donors[places % len(donors)]
    return filled


def find_parts(
    p_correct: Float32Array, scopes: IntegerArray, options: Options
) -> IntegerArray:
    """Find the difficulty bin of each image.

    With the rules "easiest" and "hardest", all images are in bin 0, because difficulty
    only orders them.

    Args:
      p_correct: scores, shape (images,), 0 to 1.
      scopes: number of each image's scope, shape (images,).
      options: options of the sampler.

    Returns:
      Bins, shape (images,), from 0 (hardest) to 100 (easiest).
    """
    if options.rule != "flat":
        return np.zeros(len(p_correct), np.int16)
    if options.bins == "percent":
        return difficulty_table.find_percent(p_correct)
    parts = np.empty(len(p_correct), np.int16)
    for positions in split_by_scope(scopes):
        # Images of equal score share a bin.
        ascending = np.sort(p_correct[positions])
        easier_than = np.searchsorted(ascending, p_correct[positions], side="left")
        parts[positions] = NUM_BINS * easier_than // len(positions)
    return parts


def find_hardest(
    p_correct: Float32Array, scopes: IntegerArray, hashes: IntegerArray, share: float
) -> npt.NDArray[np.bool_]:
    """Find the ⌊share · n⌋ hardest images of each scope; hashes break ties.

    Args:
      p_correct: scores, shape (images,).
      scopes: number of each image's scope, shape (images,).
      hashes: hash of each image, shape (images,).
      share: share of the n images of a scope, 0 to 1.

    Returns:
      Whether each image is one of the hardest, shape (images,).
    """
    is_hard = np.zeros(len(p_correct), np.bool_)
    for positions in split_by_scope(scopes):
        hardest_first = positions[np.lexsort((hashes[positions], p_correct[positions]))]
        count = _count_share(len(positions), share)
        is_hard[hardest_first[:count]] = True
    return is_hard


def split_by_scope(scopes: IntegerArray) -> list[IntegerArray]:
    """Return the positions of the images of each scope, one array per scope."""
    by_scope = np.argsort(scopes, kind="stable")
    starts = np.flatnonzero(np.diff(scopes[by_scope])) + 1
    return np.split(by_scope, starts) if len(scopes) else []


def order_by_difficulty(
    p_correct: Float32Array, hashes: IntegerArray, *, is_easiest_first: bool
) -> IntegerArray:
    """Convert scores to sort keys in [0, 2⁶³), shape (images,); hashes break ties.

    The bits of a float32 from 0 to 1, read as an integer, sort like the number.

    Args:
      p_correct: scores, shape (images,), 0 to 1.
      hashes: hash of each image, shape (images,).
      is_easiest_first: whether the easiest image gets the smallest key.
    """
    bits = (p_correct + np.float32(0)).view(np.uint32).astype(np.int64)  # no -0
    if is_easiest_first:
        bits = int(np.float32(1).view(np.uint32)) - bits
    return (bits << 32) | (hashes >> 31)
