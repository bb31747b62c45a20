"""Images of a split → batches of what their bytes become, the same as for `predict`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from transforms.image_bytes import describe_place, read_image_bytes
from transforms.models import preprocessing
from transforms.models.card import Preprocessing
from transforms.models.image_list import ImageSource
from transforms.processes.cores import num_cores
from transforms.records import DataError, ImageRef, JobError
from transforms.tables import index_table

MAX_KEPT_BYTES = 1 << 30
_BATCH_IMAGES = 256
_NUM_THREADS = num_cores()

Pictures = npt.NDArray[np.uint8]


class ValidationPictures:
    """Batches of pictures in the order of the table; kept in memory where few."""

    def __init__(
        self,
        source: ImageSource,
        settings: Preprocessing,
        *,
        max_kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self.refs = index_table.to_refs(source.table)
        self._root = source.roots[0]
        self._settings = settings
        self._is_small = len(self.refs) * settings.crop_px**2 * 3 <= max_kept_bytes
        self._kept: list[Pictures] = []

    def __iter__(self) -> Iterator[Pictures]:
        """Yield batches, shape (images, crop_px, crop_px, 3).

        Raises: JobError: an image that the dataset lists cannot be read.
        """
        if self._kept:
            yield from self._kept
            return
        kept = []
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            for start in range(0, len(self.refs), _BATCH_IMAGES):
                refs = self.refs[start : start + _BATCH_IMAGES]
                batch = np.stack(list(pool.map(self._prepare, refs)))
                if self._is_small:
                    kept.append(batch)
                yield batch
        self._kept = kept

    def _prepare(self, ref: ImageRef) -> Pictures:
        try:
            data = read_image_bytes(self._root, ref)
            return preprocessing.prepare(data, self._settings)
        except DataError as error:
            raise JobError(
                f"{ref.key} ({describe_place(ref)}): {error}; see what is wrong with "
                "python -m pipelines.verify"
            ) from error
