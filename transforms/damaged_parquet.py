"""What pyarrow raises on a damaged file → a message; what the store raises stays."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from transforms.records import UsageError


@contextlib.contextmanager
def named(path: str, remedy: str = "download it again") -> Iterator[None]:
    """Name the file that is damaged, within its footer or a page of it.

    Raises:
      UsageError: the file is no whole Parquet file, or holds texts that are none.
      OSError: anything that another try may mend.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = " ".join(str(error).split())
        raise UsageError(
            f"{path}: not a whole Parquet file ({what:.200}); {remedy}"
        ) from error
