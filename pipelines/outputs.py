"""What the user names to write to → what stands in its way."""

from collections.abc import Iterator
from pathlib import Path

from transforms.records import UsageError
from transforms.store_clients import parse


def find_folder_problems(output: str | None) -> Iterator[str]:
    """Say why nothing can be written into a folder, as far as its name tells."""
    if not output:
        return
    if "://" in output:
        try:
            parse(output)
        except UsageError as error:
            yield f"--output {error}"
        return
    place = Path(output)
    if any(parent.is_file() for parent in (place, *place.parents)):
        yield f"--output {output}: lies in or is a file; name a folder"


def check_bucket(output: str | None) -> None:
    """See that the bucket of an output answers, before all work; local ones are fine.

    Raises: UsageError: it does not.
    """
    if not output or "://" not in output:
        return
    # pyarrow, which this imports, takes a second that --help has not.
    from transforms import storage  # noqa: PLC0415

    try:
        storage.check_bucket(output)
    except OSError as error:
        raise cannot_write(output, error) from error


def cannot_write(output: str, error: OSError) -> UsageError:
    """Say that, and why, an output takes nothing."""
    return UsageError(
        f"--output {output}: nothing can be written there ({error.strerror}); name "
        "another place"
    )
