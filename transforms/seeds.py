"""Compute pseudo-random orders from hashes of (seed, purpose, key).

All random choices in this project use them. Each kind of choice has its own purpose, so
that choices are independent. If all used the same hash, the half of a class that has
the lowest hashes would be selected as a sample and also become fold A.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

Purpose = Literal[
    "class",
    "group",
    "fold",
    "validation",
    "sample",
    "score",
    "remainder",
    "shuffle",
    "draw",
    "verify",
]


def order(seed: int, purpose: Purpose, key: str) -> int:
    """Return a hash to sort a key by, the same on every machine.

    Args:
      seed: random seed that the user gave; 0 has no special meaning.
      purpose: kind of choice that the order is for.
      key: key of the item to sort. Callers sort items with equal hashes by key.

    Returns:
      An integer in [0, 2⁶³), which fits the int64 of Beam and Parquet.
    """
    text = f"{seed}|{purpose}|{key}".encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def orders(seed: int, purpose: Purpose, keys: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return the `order` of each key, shape (keys,); faster than single calls."""
    # Converting all digests at once takes half the time of single calls.
    start = f"{seed}|{purpose}|".encode()
    digests = bytearray()
    for key in keys:
        digests += hashlib.blake2b(start + key.encode(), digest_size=8).digest()
    return (np.frombuffer(digests, ">u8") >> 1).astype(np.int64)
