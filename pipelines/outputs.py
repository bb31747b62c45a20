"""What the user names to write to → what stands in its way."""

from collections.abc import Iterator
from pathlib import Path


def find_folder_problems(output: str | None) -> Iterator[str]:
    """Say why tables and pages cannot be written into a folder on this machine."""
    if not output:
        return
    place = Path(output)
    if "://" in output:
        yield f"--output {output}: is in a bucket; name a folder on this machine"
    elif any(parent.is_file() for parent in (place, *place.parents)):
        yield f"--output {output}: lies in or is a file; name a folder"
