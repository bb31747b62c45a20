"""Commit a dataset whose parts are synthetic, and print the time that this takes.

    python -m tests.benchmarks.committing INDEX FOLDER

The parts are those of a build of all images of an index (`synthetic_index`). The images
do not exist, except the one that the contact sheet shows for all.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

from pipelines.build import parse_request
from pipelines.building import output, planning
from tests import making
from transforms import storage
from transforms.dataset import manifest
from transforms.dataset import plan as dataset_plan
from transforms.dataset.commit import CommitSettings, commit
from transforms.dataset.manifest import ManifestRow, Part
from transforms.formats import webdataset
from transforms.hidden_imports import hide_pandas_from_arrow
from transforms.records import Shard, WrittenFile

_SIDE_PX = 64  # small, because a build checks the space on the disk


def main(index: str, folder: str) -> None:
    """Write the parts, commit them, and print the time and the CPU time as JSON."""
    hide_pandas_from_arrow()
    settings = _write_parts(index, folder)
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    commit([(shard, 0) for shard, _ in settings.shards], settings)
    taken = {
        "seconds": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - started_cpu_s,
    }
    sys.stdout.write(f"{json.dumps(taken)}\n")


def _write_parts(index: str, folder: str) -> CommitSettings:
    request = parse_request([
        *("--input", index, "--output", folder, "--grouping", "all_classes"),
        *("--formats", "webdataset", "--image_size", str(_SIDE_PX)),
        *("--min_validation_images", "0"),
    ])
    plan = planning.plan_build(request, folder)
    settings = plan.commit_settings(output.find_place(plan.options))
    shards = [shard for shard, _ in plan.shards]
    paths = [str(webdataset.shard_path(settings.name, shard)) for shard in shards]
    image = making.jpeg_bytes(size=(_SIDE_PX, _SIDE_PX))
    storage.write(settings.root, paths[0], image)
    for shard, path in zip(shards, paths, strict=True):
        rows = _list_rows(plan.folder, shard, paths[0], len(image))
        written = WrittenFile(path, 0, hashlib.sha256(path.encode()).hexdigest())
        part = Part(
            shard=shard,
            files={"webdataset": [written]},
            failures=(),
            conversions={},
            num_images=len(rows),
        )
        manifest.write_part(settings.work, part, rows)
    return settings


def _list_rows(
    plan_folder: str, shard: Shard, path: str, length: int
) -> list[ManifestRow]:
    return [
        ManifestRow(
            key=ref.key,
            split=shard.split,
            wnid=ref.wnid,
            label=label,
            fine_label=label,
            shard=shard.number,
            position=position,
            file=path,
            offset=0,
            length=length,
            width=_SIDE_PX,
            height=_SIDE_PX,
            source=ref.uri,
            source_offset=ref.location[0],
            source_length=ref.location[1],
            source_sha256=hashlib.sha256(ref.key.encode()).hexdigest(),
        )
        for position, (_, label, ref) in enumerate(
            dataset_plan.read_part(plan_folder, shard)
        )
    ]


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir()
    main(*sys.argv[1:])
