"""Read the headers of tars in buckets with few requests, partly in parallel.

Each header determines the offset of the next one, so a sequential reader waits for one
request per header. Two measures reduce the waiting:

- A request for a few kilobytes takes as long as one for a header. `WindowReader`
  therefore reads ahead: long names, the labels of an image and, if images are small,
  many members.
- `read_members` divides a large archive into segments. In each segment, a thread finds
  a header and follows the chain of headers from there. The sequential reader then uses
  the headers that the threads have cached. If a thread mistakes image bytes for a
  header, it only wastes time, because the sequential reader never requests them.

Class archives are not divided, because a thousand of them are read in parallel anyway.
Reading whole archives instead of headers would transfer 140 GB for 1.28 million images,
25 times as much, and save at most a quarter of the time (64 readers, 30 ms per request,
250 MB/s).
"""

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial

from transforms import storage
from transforms.archives import tar
from transforms.archives.tar import Member, Read
from transforms.archives.tar_end import BLOCK
from transforms.input_warnings import Observation
from transforms.records import DataError, UsageError

_WINDOW_BYTES = 1 << 12
_WIDE_WINDOW_BYTES = 1 << 18
# Reading a smaller gap takes less time than another request, which takes 30 ms; 64
# threads share 250 MB/s.
_SMALL_GAP_BYTES = 1 << 14

SEGMENT_BYTES = 1 << 24  # about 150 images, whose headers take a few seconds
_LEAST_SEGMENTS = 16  # smaller archives are not divided
_SEGMENTS_AHEAD = 64
_READS_ALONE = 64  # before threads start; many callers read only the first members
_NUM_THREADS = 64
_SCAN_BYTES = 1 << 17  # nearly always contains a header of ImageNet's tars
_MAGIC, _MAGIC_AT = b"ustar", 257


class WindowReader:
    """Read small ranges of a file at mostly increasing offsets, with read-ahead.

    Args:
      path: the file.
      end: byte offset at which reading ahead stops.
    """

    def __init__(self, path: str, end: int) -> None:
        self._path, self._end = path, end
        # A header may be in the last window, the image's label in the previous one.
        self._windows: deque[tuple[int, bytes]] = deque(maxlen=2)
        self._gap = float(_WIDE_WINDOW_BYTES)  # between two windows, a moving average

    def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes at `offset`, from the buffer if possible.

        Raises:
          DataError: the file is missing, has changed, or ends too early.
        """
        for start, window in reversed(self._windows):
            if start <= offset and offset + length <= start + len(window):
                return window[offset - start : offset - start + length]
        if self._windows:
            start, window = self._windows[-1]
            if (gap := offset - start - len(window)) >= 0:
                self._gap = (self._gap + gap) / 2
        is_dense = self._gap <= _SMALL_GAP_BYTES
        num_bytes = _WIDE_WINDOW_BYTES if is_dense else _WINDOW_BYTES
        num_bytes = max(length, min(num_bytes, self._end - offset))
        window = storage.read_range(self._path, offset, num_bytes)
        self._windows.append((offset, window))
        return window[:length]


def open_reader(path: str, end: int) -> Read:
    """Return a function that reads small ranges, with read-ahead for URLs.

    Args:
      path: the file.
      end: byte offset at which reading ahead stops.
    """
    if storage.is_remote(path):
        return WindowReader(path, end).read
    return partial(storage.read_range, path)


def read_members(
    path: str, *, start: int, end: int, archive: str, observations: list[Observation]
) -> Iterator[Member]:
    """Yield the members of an archive like `tar.read_members`, in fewer requests.

    Args:
      path: the file that contains the archive.
      start: byte offset of the archive in the file.
      end: byte offset of the end of the archive in the file.
      archive: name of the archive in observations.
      observations: list to which an unusual archive end is appended.

    Raises:
      UsageError: as `tar.read_members` does.
    """
    walk = functools.partial(
        tar.read_members,
        path,
        start=start,
        end=end,
        archive=archive,
        observations=observations,
    )
    is_large = end - start >= _LEAST_SEGMENTS * SEGMENT_BYTES
    if not (is_large and storage.is_remote(path)):
        yield from walk(read=open_reader(path, end))
        return
    with closing(_SegmentReader(path, start, end)) as reader:
        yield from walk(read=reader.read)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Return the thread pool that all archives share."""
    return ThreadPoolExecutor(_NUM_THREADS)


_Blocks = dict[tuple[int, int], bytes]  # by offset and length


class _SegmentReader:
    """Read ranges at increasing offsets while threads prefetch the headers of a tar."""

    def __init__(self, path: str, start: int, end: int) -> None:
        self._path, self._start, self._end = path, start, end
        self._num_segments = -(-(end - start) // SEGMENT_BYTES)
        self._num_reads = 0
        self._num_started = 0  # segments; the current one never needs a thread
        self._walks: dict[int, Future[_Blocks]] = {}
        self._is_closed = False
        self._read = open_reader(path, end)

    def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes at `offset`, or return them if a thread has read them."""
        self._num_reads += 1
        if self._num_reads <= _READS_ALONE:
            return self._read(offset, length)
        number = (offset - self._start) // SEGMENT_BYTES
        for passed in [n for n in self._walks if n < number]:
            self._walks.pop(passed).cancel()
        last = min(number + _SEGMENTS_AHEAD, self._num_segments)
        for ahead in range(max(self._num_started, number + 1), last):
            self._walks[ahead] = _pool().submit(self._walk, ahead)
        self._num_started = max(self._num_started, last)
        blocks = self._walks[number].result() if number in self._walks else {}
        block = blocks.pop((offset, length), None)
        return self._read(offset, length) if block is None else block

    def close(self) -> None:
        """Cancel the prefetching of headers."""
        self._is_closed = True
        for walk in self._walks.values():
            walk.cancel()

    def _walk(self, number: int) -> _Blocks:
        """Read the headers of a segment; return their bytes by (offset, length).

        Errors are ignored here, because the sequential reader reports them.
        """
        start = self._start + number * SEGMENT_BYTES
        end = min(start + SEGMENT_BYTES, self._end)
        blocks: _Blocks = {}
        with suppress(UsageError, DataError, OSError):
            for header in self._find_headers(start, end):
                if self._follow(header, end, blocks):
                    break
        return blocks

    def _find_headers(self, start: int, end: int) -> Iterator[int]:
        """Yield the offsets in [start, end) at which a tar header may begin."""
        for position in range(start, end, _SCAN_BYTES):
            self._check_is_open()
            length = min(_SCAN_BYTES, end - position)
            data = storage.read_range(self._path, position, length)
            at = data.find(_MAGIC)
            while at >= 0:
                if at % BLOCK == _MAGIC_AT:
                    yield position + at - _MAGIC_AT
                at = data.find(_MAGIC, at + 1)

    def _follow(self, header: int, end: int, blocks: _Blocks) -> bool:
        """Read the chain of headers from a candidate and add them to `blocks`.

        Args:
          header: byte offset of the candidate.
          end: byte offset of the end of the segment.
          blocks: receives the bytes, by (offset, length).

        Returns:
          Whether the candidate is a valid header.
        """
        window = open_reader(self._path, self._end)

        def read(offset: int, length: int) -> bytes:
            self._check_is_open()
            blocks[offset, length] = block = window(offset, length)
            return block

        members = tar.read_members(self._path, start=header, end=self._end, read=read)
        try:
            member = next(members, None)
        except UsageError:
            return False
        while member and member.offset + member.length < end:
            member = next(members, None)
        return True

    def _check_is_open(self) -> None:
        if self._is_closed:
            raise DataError("headers are no longer needed")
