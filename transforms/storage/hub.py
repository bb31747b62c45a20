"""Read datasets of the Hugging Face Hub with its client library, an optional package.

A path is `hf://datasets/OWNER/NAME[@REVISION][/PATH]`. The library finds the token and
the endpoint as its users expect (HF_TOKEN, `hf auth login`, HF_ENDPOINT), waits when
the Hub limits requests, and follows redirects and pages. Files are read by ranges.
"""

import errno
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from transforms.records import DataError, UsageError

_SCHEME = "hf://"
_PATH = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<key>.*))?"
)
_COMMIT = re.compile("[0-9a-f]{40}")
_TIMEOUT_S = 60.0  # of one request
_PARTIAL_CONTENT = 206
_COUNTS = "IMAGENET_SUBSETS_FETCHED"  # names the file that processes append to
_LIBRARY = "huggingface_hub"


class _Place(NamedTuple):
    """A parsed path; an empty revision is the main branch."""

    repo: str
    revision: str
    key: str

    def __str__(self) -> str:
        revision = self.revision and f"@{self.revision.replace('/', '%2F')}"
        return f"{_SCHEME}datasets/{self.repo}{revision}/{self.key}".rstrip("/")


class HubFile(NamedTuple):
    """A file or folder of a dataset; `version` is the hash of a file's content."""

    name: str
    is_folder: bool
    num_bytes: int
    version: str


def is_hub(path: str) -> bool:
    """Return whether a path is on the Hub."""
    return path.startswith(_SCHEME)


def _parse(path: str) -> _Place:
    match = _PATH.fullmatch(path)
    if not match or ".." in path.split("/"):
        raise UsageError(
            f"{path}: must be hf://datasets/OWNER/NAME[@REVISION][/PATH], e.g. "
            "hf://datasets/ILSVRC/imagenet-1k"
        )
    key = "/".join(part for part in (match["key"] or "").split("/") if part)
    return _Place(match["repo"], unquote(match["revision"] or ""), key)


def _load(module: str) -> Any:
    try:
        return importlib.import_module(f"{_LIBRARY}{module}")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"hf://: needs {_LIBRARY}, which is not installed; pip install "
            "'imagenet-subsets[hf]'"
        ) from error


def pin(path: str) -> str:
    """Replace the revision of a path, e.g. a branch, by the commit that it names now.

    Raises:
      UsageError: there is no such dataset or revision.
      OSError: the Hub did not respond, or refuses access.
    """
    place = _parse(path)
    if _COMMIT.fullmatch(place.revision):
        return path
    try:
        return str(place._replace(revision=_find_commit(place.repo, place.revision)))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such dataset or revision") from None


def find_newer(path: str) -> str:
    """Return the commit of the main branch if it is not the one of a path, else ""."""
    place = _parse(path)
    commit = _find_commit(place.repo, "")
    return "" if commit == place.revision else commit


def _find_commit(repo: str, revision: str) -> str:
    api = _load("").HfApi()
    name = (revision or "main").replace("/", "%2F")
    with _translated(str(_Place(repo, revision, ""))):
        response = _request(f"{api.endpoint}/api/datasets/{repo}/revision/{name}")
        return str(response.json()["sha"])


def _request(url: str, **headers: str) -> Any:
    utils = _load(".utils")
    response = utils.http_backoff(
        "GET", url, headers=utils.build_hf_headers() | headers, timeout=_TIMEOUT_S
    )
    utils.hf_raise_for_status(response)
    return response


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Translate the library's errors.

    Raises:
      FileNotFoundError: there is no such revision or file.
      PermissionError: the dataset is gated or private, or does not exist.
      OSError: the Hub did not respond, or responded with another error.
    """
    errors = _load(".errors")
    repo = _parse(path).repo
    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{_load('').HfApi().endpoint}/datasets/{repo}"
        raise PermissionError(
            errno.EACCES,
            f"the dataset is gated: accept its terms at {page}, then run hf auth login "
            "or set HF_TOKEN to a token of that account",
            path,
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise PermissionError(
            errno.EACCES,
            "no such dataset, or a private one; check its name, and run hf auth login "
            "or set HF_TOKEN if it is private",
            path,
        ) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise FileNotFoundError(
            errno.ENOENT, "no such revision or file", path
        ) from error
    except errors.HTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status in {401, 403}:
            what = f"the Hub refuses access ({status}); check the token in HF_TOKEN"
            raise PermissionError(errno.EACCES, what, path) from error
        what = " ".join(str(error).split())[:300]
        raise OSError(errno.EIO, what or type(error).__name__, path) from error


@lru_cache(maxsize=256)
def _list(repo: str, revision: str, folder: str) -> dict[str, HubFile]:
    """Return the files and folders in a folder, by name; cached."""
    api = _load("").HfApi()
    with _translated(str(_Place(repo, revision, folder))):
        items = api.list_repo_tree(
            repo, folder or None, revision=revision or None, repo_type="dataset"
        )
        files = [
            HubFile(
                item.path.rpartition("/")[2],
                not hasattr(item, "blob_id"),
                getattr(item, "size", 0),
                item.lfs.sha256
                if getattr(item, "lfs", None)
                else getattr(item, "blob_id", ""),
            )
            for item in items
        ]
    return {file.name: file for file in files}


def forget() -> None:
    """Clear the cache of folder listings."""
    _list.cache_clear()


def list_folder(path: str) -> list[HubFile]:
    """List the files and folders directly in a folder, sorted by name.

    Raises:
      FileNotFoundError: there is no such folder.
    """
    place = _parse(path)
    return sorted(_list(*place).values())


def is_folder(path: str) -> bool:
    """Return whether a path is a dataset or a folder of it."""
    place = _parse(path)
    folder, _, name = place.key.rpartition("/")
    try:
        files = _list(place.repo, place.revision, folder)
    except FileNotFoundError:
        return False
    return not name or (name in files and files[name].is_folder)


def describe(path: str) -> HubFile:
    """Describe a file.

    Raises:
      FileNotFoundError: there is no such file.
    """
    if not _PATH.fullmatch(path):  # a folder above the dataset
        raise FileNotFoundError(errno.ENOENT, "is not in a dataset", path)
    place = _parse(path)
    folder, _, name = place.key.rpartition("/")
    file = _list(place.repo, place.revision, folder).get(name)
    if file is None or file.is_folder:
        raise FileNotFoundError(errno.ENOENT, "no such file", path)
    return file


def list_files(root: str) -> Iterator[tuple[str, int]]:
    """Yield (relative path, size in bytes) of every file below a folder, sorted."""
    for file in list_folder(root):
        if file.is_folder:
            for name, num_bytes in list_files(f"{root}/{file.name}"):
                yield f"{file.name}/{name}", num_bytes
        else:
            yield file.name, file.num_bytes


def read_range(path: str, offset: int, length: int, *, version: str = "") -> bytes:
    """Read a byte range of a file in one request; thread-safe.

    Args:
      path: path of the file.
      offset: start of the range in bytes.
      length: length of the range in bytes.
      version: required version; "" accepts any.

    Raises:
      DataError: the file is missing, shorter than the range, or of another version.
      OSError: the Hub did not respond, or responded with an error.
    """
    try:
        file = describe(path)
        if version and file.version != version:
            raise DataError("the file has changed since it was first read")
        if offset + length > file.num_bytes:
            missing = offset + length - file.num_bytes
            raise DataError(f"the file ends {missing} bytes too early")
        place = _parse(path)
        url = _load("").hf_hub_url(
            place.repo, place.key, repo_type="dataset", revision=place.revision or None
        )
        with _translated(path):
            response = _request(url, Range=f"bytes={offset}-{offset + length - 1}")
    except FileNotFoundError:
        raise DataError("the file is gone") from None
    data = bytes(response.content)
    _count(len(data))
    if response.status_code != _PARTIAL_CONTENT or len(data) != length:
        if len(data) == length == file.num_bytes:  # the whole file was requested
            return data
        what = f"{len(data)} bytes instead of {length} (status {response.status_code})"
        raise OSError(errno.EIO, what, path)
    return data


def _count(num_bytes: int) -> None:
    if path := os.environ.get(_COUNTS):
        with Path(path).open("ab", buffering=0) as file:  # one write: atomic
            file.write(f"{num_bytes}\n".encode())


@contextmanager
def counting(path: str) -> Iterator[None]:
    """Count the bytes read from the Hub by this process and its children in a block.

    Args:
      path: file on this machine that the processes append to; see `describe_counts`.
    """
    os.environ[_COUNTS] = str(Path(path).absolute())
    try:
        yield
    finally:
        os.environ.pop(_COUNTS, None)


def describe_counts(path: str) -> str:
    """Describe the bytes and requests of `counting`; "" if nothing was read."""
    if not Path(path).exists():
        return ""
    counts = [int(line) for line in Path(path).read_text(encoding="ascii").split()]
    return (
        f"fetched {sum(counts) / 1e6:,.1f} MB from the Hugging Face Hub in "
        f"{len(counts):,} requests"
    )
