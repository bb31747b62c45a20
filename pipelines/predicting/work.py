"""Manage the work folder of a run: its identity, its lock and its finished parts."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transforms import __version__, storage
from transforms.models import image_chunks, parts
from transforms.models.image_chunks import Chunk
from transforms.models.inference import InferenceSettings
from transforms.records import JobError, UsageError, list_names, to_json

# Their versions decide the last digits of predictions.
_LIBRARIES = (
    "cykooz-resizer",
    "keras",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "pillow",
    "tensorflow",
)
_ID_LENGTH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A table to write, and the chunks of images that it consists of."""

    output: str
    run_id: str
    chunks: Sequence[Chunk]

    @property
    def work(self) -> str:
        """The hidden work folder beside the table, which workers can reach.

        Runs with other settings have other folders, so parts are never mixed.
        """
        folder, _, name = self.output.rpartition("/")
        return f"{folder}/.{name}.{self.run_id}.partial"


def find_run_id(settings: InferenceSettings, split: str) -> str:
    """Return an id of the split and everything that decides an image's predictions."""
    models = [
        {
            "scored": dataclasses.asdict(spec.scored),
            "card": spec.card.describe(),
            "correct_outputs": spec.correct_outputs,
        }
        for spec in settings.models
    ]
    decisive: dict[str, Any] = {
        "models": models,
        "split": split,
        "roots": settings.roots,
        "versions": settings.versions,
        "batch_size": settings.batch_size,
        "keep_probabilities": settings.keep_probabilities,
        "libraries": {"imagenet-subsets": __version__, **_find_library_versions()},
    }
    return hashlib.sha256(to_json(decisive)).hexdigest()[:_ID_LENGTH]


def _find_library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@contextmanager
def acquire(run: Run, listed: bytes) -> Iterator[int]:
    """Create or continue the work folder; a local folder is locked during the block.

    If the block fails before any chunk is finished, a local folder is removed. A folder
    in a bucket may be that of another run with the same settings.

    Args:
      run: the run.
      listed: the serialised list of images.

    Yields:
      The number of images that are still to be predicted.

    Raises:
      UsageError: another run of this machine holds the lock.
    """
    with _lock(run.work):
        image_chunks.write(run.work, listed)
        for line in _find_others(run):
            sys.stderr.write(f"{line}\n")
        kept = parts.list_finished(run.work, run.chunks)
        num_kept, num_images = (
            sum(chunk.num_images for chunk in chunks) for chunks in (kept, run.chunks)
        )
        if kept:
            sys.stderr.write(
                f"{len(kept)} of {len(run.chunks)} chunks are kept from an earlier run "
                f"({num_kept} of {num_images} images)\n"
            )
        try:
            yield num_images - num_kept
        except (UsageError, JobError):
            if not storage.is_remote(run.work) and not parts.exist(run.work):
                storage.remove_folder(run.work)
            raise


@contextmanager
def _lock(work: str) -> Iterator[None]:
    if storage.is_remote(work):  # two runs of the same settings write equal parts
        yield
        return
    try:
        descriptor = storage.lock_folder(work)
    except BlockingIOError:
        raise UsageError(
            f"--output: another run holds the lock on {work}; wait for it"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _find_others(run: Run) -> Iterator[str]:
    """Yield a warning about work folders of other runs that write the same table."""
    folder, _, name = run.output.rpartition("/")
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{{_ID_LENGTH}}}\.partial")
    others = [
        f"{folder}/{entry.name}"
        for entry in storage.list_folder(folder)
        if pattern.fullmatch(entry.name) and f"{folder}/{entry.name}" != run.work
    ]
    if others:
        yield (
            f"warning: {list_names(others)}: parts of an unfinished run with other "
            "models or settings; they are not used; remove them if that run "
            "does not continue"
        )
