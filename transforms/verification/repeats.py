"""Checksums of the sources → photographs that stand in the dataset more than once.

ImageNet itself holds exact copies under different keys, in training and in validation
images alike. They are its property and no damage: they are reported, and the dataset is
what it says. The same *key* in two splits is damage, and found among the keys.
"""

from collections import Counter

from transforms.verification.opened import OpenedDataset
from transforms.verification.rows import Problems


def check_leaks(dataset: OpenedDataset) -> Problems:
    """Find the same source bytes in two splits."""
    splits_of: dict[bytes, set[str]] = {}
    for checksum, split in dataset.rows("source_sha256", "split"):
        splits_of.setdefault(bytes.fromhex(checksum), set()).add(split)
    shared = {key for key, splits in splits_of.items() if len(splits) > 1}
    images: dict[bytes, list[tuple[str, str, int]]] = {}
    columns = dataset.rows("source_sha256", "split", "key", "label") if shared else ()
    for checksum, split, key, label in columns:
        if (digest := bytes.fromhex(checksum)) in shared:
            images.setdefault(digest, []).append((split, key, label))
    for copies in images.values():
        named = " = ".join(f"{split} {key}" for split, key, _ in copies)
        differ = len({label for *_, label in copies}) > 1
        yield f"{named}{', with different labels' if differ else ''}"
    return f"{len(splits_of)} different photographs"


def check_repeats(dataset: OpenedDataset) -> Problems:
    """Count the same source bytes within a split; no damage, so nothing is yielded."""
    yield from ()
    counts = Counter(dataset.rows("split", "source_sha256"))
    repeated = sum(count - 1 for count in counts.values())
    return f"{repeated} images are copies of another of their split"
