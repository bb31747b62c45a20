"""Read .npz files safely (size limits, no pickle) and write them reproducibly."""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def read_npz(
    data: bytes, needed: Sequence[str], *, optional: Sequence[str] = (), max_bytes: int
) -> dict[str, Array]:
    """Read named arrays of numbers or strings from an .npz file.

    Args:
      data: content of the file.
      needed: names of required arrays.
      optional: names of arrays that may be missing; other arrays are ignored.
      max_bytes: maximum size of each array in bytes, checked before decompression.

    Returns:
      The arrays by name, without missing optional ones.

    Raises:
      ValueError: the file is invalid, lacks an array, or has an array that is too large
        or holds other types.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            sizes = {info.filename: info.file_size for info in file.infolist()}
            if missing := [name for name in needed if f"{name}.npy" not in sizes]:
                raise ValueError(f"lacks the array {missing[0]!r}")
            kinds = {info.compress_type for info in file.infolist()}
            if kinds - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise ValueError("must be stored or deflated, as NumPy writes it")
            wanted = [*needed, *(n for n in optional if f"{n}.npy" in sizes)]
            for name in wanted:
                if (size := sizes[f"{name}.npy"]) > max_bytes:
                    raise ValueError(
                        f"{name} would take {size} bytes, of {max_bytes} at most"
                    )
            return {n: _parse_array(n, file.read(f"{n}.npy")) for n in wanted}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"is not a readable npz file ({error})") from None
    except RuntimeError:  # zipfile needs a password
        raise ValueError("is an encrypted npz file") from None


def _parse_array(name: str, data: bytes) -> Array:
    """Parse an .npy file.

    Raises:
      ValueError: the file is no array of numbers or strings, or its header and length
        disagree.
    """
    file = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, is_fortran, kind = np.lib.format.read_array_header_1_0(file)
        else:
            shape, is_fortran, kind = np.lib.format.read_array_header_2_0(file)
    except ValueError as error:
        raise ValueError(f"{name} is not an array ({error})") from None
    if kind.kind not in "iufU" or not kind.itemsize:
        raise ValueError(f"{name} holds {kind}, not numbers or strings")
    if math.prod(shape) * kind.itemsize != len(data) - file.tell():
        raise ValueError(f"{name} is truncated, or longer than its header states")
    flat = np.frombuffer(data, kind, offset=file.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def to_npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Serialise arrays to .npz without timestamps: equal arrays give equal bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(
                content, array, version=(1, 0), allow_pickle=False
            )
            file.writestr(member, content.getvalue())
    return data.getvalue()
