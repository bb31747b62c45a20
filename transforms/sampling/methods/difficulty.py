"""Equally many images of every difficulty, as far as there are; needs --difficulty."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import sampling, seeds
from transforms.arrays import Float32Array, IntegerArray
from transforms.difficulty import table as difficulty_table
from transforms.difficulty.table import NUM_BINS
from transforms.records import UsageError
from transforms.sampling.plan import (
    NEVER,
    SCOPES,
    MissingScoresError,
    SamplerOutput,
    SamplingRequest,
)

_RULES = ("flat", "easiest", "hardest")
_BINS = ("percent", "quantile")
_MISSING = ("error", "random")
_KEYS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """How difficulty decides; it is the table's p_correct, 0 hard to 1 easy."""

    rule: str = field(
        default="flat",
        metadata={
            "help": "flat: cap the images of each bin, so that the histogram of "
            "difficulty is as flat as it can be; easiest, hardest: those first",
            "choices": _RULES,
        },
    )
    scope: str = field(
        default="group",
        metadata={
            "help": "what is flattened: each group of M images, or the whole set of "
            "N × M, whose groups then differ in size",
            "choices": SCOPES,
        },
    )
    bins: str = field(
        default="percent",
        metadata={
            "help": "percent: 101 bins of p_correct, to the nearest 1 %; quantile: 101 "
            "bins of equally many images, which spares crowded ends",
            "choices": _BINS,
        },
    )
    drop_hardest: float = field(
        default=0.0,
        metadata={
            "help": "first leave out this share of the hardest images (0 to below 1), "
            "among which wrong labels gather"
        },
    )
    missing: str = field(
        default="error",
        metadata={
            "help": "images without a score: error; or random: each takes the score of "
            "another image of its scope, by hash",
            "choices": _MISSING,
        },
    )


def arrange(request: SamplingRequest, options: Options) -> SamplerOutput:
    """Give every image its bin of difficulty, or its place from one end.

    Which images are left out as hardest depends on neither M nor what is set aside for
    validation, so that a smaller subset lies in a larger one.

    Raises:
      MissingScoresError: no table of difficulty, or images that it does not hold.
      UsageError: what is wrong with the table or the options.
    Source: Gao (2021), the cap on images of one probability; Zheng et al. (ICLR 2023,
      "Coverage-centric coreset selection") for leaving out the hardest.
    """
    if request.difficulty_file is None:
        raise MissingScoresError(
            "--difficulty: is required (the table that --sampling=difficulty reads)"
        )
    if not 0 <= options.drop_hardest < 1:
        raise UsageError(
            f"--difficulty_drop_hardest {options.drop_hardest:g}: must be from 0 to "
            "below 1"
        )
    table = _read(request.difficulty_file)
    images = request.read_images()
    keys = images["key"].combine_chunks()
    scopes = np.zeros(len(keys), np.int64)
    if options.scope == "group":
        scopes = images["label"].to_numpy()
    p_correct = look_up(table, keys)
    is_missing = np.isnan(p_correct)
    notes = []
    if is_missing.any():
        told = _describe_missing(keys, is_missing, request.difficulty_file)
        if options.missing == "error" or is_missing.all():
            raise MissingScoresError(told)
        notes.append(f"{told.split(';')[0]}; each is given another image's score")
        p_correct = fill(p_correct, scopes, keys, seed=request.seed)
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


def look_up(table: pa.Table, keys: pa.StringArray) -> Float32Array:
    """Find each image's p_correct, at most 1; NaN where the table has none.

    Args:
      table: key and p_correct, each key once.
      keys: of the images.
    """
    values = np.append(table["p_correct"].to_numpy(), np.nan).astype(np.float32)
    place = pc.index_in(keys, value_set=table["key"].combine_chunks())
    found: Float32Array = values[pc.fill_null(place, len(table)).to_numpy()]
    return np.minimum(found, np.float32(1))


def _describe_missing(
    keys: pa.StringArray, is_missing: npt.NDArray[np.bool_], path: str
) -> str:
    shown = ", ".join(keys.take(np.flatnonzero(is_missing)[:_KEYS_SHOWN]).to_pylist())
    return (
        f"--difficulty {path}: has no score for {is_missing.sum()} of {len(keys)} "
        f"training images of the groups ({shown}); score them too, or give "
        "--difficulty_missing=random"
    )


def fill(
    p_correct: Float32Array, scopes: IntegerArray, keys: pa.StringArray, *, seed: int
) -> Float32Array:
    """Give images without a score that of another image of their scope, by hash.

    A scope without any score draws from all images.
    """
    filled = p_correct.copy()
    everywhere = np.sort(p_correct[~np.isnan(p_correct)])
    for scope in np.unique(scopes[np.isnan(p_correct)]):
        own = np.flatnonzero(scopes == scope)
        missing = own[np.isnan(p_correct[own])]
        scored = np.sort(p_correct[own][~np.isnan(p_correct[own])])
        donors = scored if len(scored) else everywhere
        places = seeds.orders(seed, "score", keys.take(missing).to_pylist())
        filled[missing] = donors[places % len(donors)]
    return filled


def find_parts(
    p_correct: Float32Array, scopes: IntegerArray, options: Options
) -> IntegerArray:
    """Find each image's bin; all are in one where difficulty orders them.

    Returns: shape (images,), from 0 to 100.
    """
    if options.rule != "flat":
        return np.zeros(len(p_correct), np.int16)
    if options.bins == "percent":
        return difficulty_table.find_percent(p_correct)
    parts = np.empty(len(p_correct), np.int16)
    for own in split_by_scope(scopes):
        # Images of equal score share a bin.
        ascending = np.sort(p_correct[own])
        easier_than = np.searchsorted(ascending, p_correct[own], side="left")
        parts[own] = NUM_BINS * easier_than // len(own)
    return parts


def find_hardest(
    p_correct: Float32Array, scopes: IntegerArray, hashes: IntegerArray, share: float
) -> npt.NDArray[np.bool_]:
    """Find the ⌊share · n⌋ hardest images of each scope of n, ties by hash."""
    is_hard = np.zeros(len(p_correct), np.bool_)
    for own in split_by_scope(scopes):
        hardest_first = own[np.lexsort((hashes[own], p_correct[own]))]
        count = sampling.count_left_out(len(own), Options(drop_hardest=share))
        is_hard[hardest_first[:count]] = True
    return is_hard


def split_by_scope(scopes: IntegerArray) -> list[IntegerArray]:
    """Return the positions of each scope's images."""
    by_scope = np.argsort(scopes, kind="stable")
    starts = np.flatnonzero(np.diff(scopes[by_scope])) + 1
    return np.split(by_scope, starts) if len(scopes) else []


def order_by_difficulty(
    p_correct: Float32Array, hashes: IntegerArray, *, is_easiest_first: bool
) -> IntegerArray:
    """Order images by score, ties by hash, as integers from 0 to below 2⁶³.

    The bits of a float32 from 0 to 1 sort as the number does.
    """
    bits = (p_correct + np.float32(0)).view(np.uint32).astype(np.int64)  # no -0
    if is_easiest_first:
        bits = int(np.float32(1).view(np.uint32)) - bits
    return (bits << 32) | (hashes >> 31)
