"""Build with a store that fails every tenth request: identical bytes."""

import itertools
import random

from pipelines import build
from tests import building
from tests.stores.copying import checksums, upload
from transforms.storage import clients as store_clients

BUCKET = "s3://photographs"
KINDS = [500, 503, 429, "reset", "short", "slow", "lost"]
FLAGS = {"formats": "webdataset,tfrecord,folders,parquet", "images_per_shard": 5}


def test_builds_among_faults_have_the_same_bytes(
    faulty, mini_imagenet, tmp_path, monkeypatch, request, tell
):
    monkeypatch.setattr(store_clients, "REQUEST_TIMEOUT_S", 1.0)
    local = building.run(mini_imagenet, tmp_path, **FLAGS)
    expected = building.checksums(local)
    source = upload(mini_imagenet, f"{BUCKET}/imagenet")
    chance = random.Random(3)
    faulty.storm_methods = {"GET", "HEAD", "PUT", "POST", "DELETE"}
    num_requests = 0
    for trial in itertools.count():
        faulty.storm = iter(
            lambda: chance.choice(KINDS) if chance.random() < 0.1 else None, 0
        )
        faulty.asked.clear()
        build.main(building.command_line(source, f"{BUCKET}/out{trial}", **FLAGS))
        num_requests += len(faulty.asked)
        faulty.storm = iter(())
        assert checksums(f"{BUCKET}/out{trial}/small/1.0.0") == expected
        for key in [key for key in faulty.objects if key.startswith("out")]:
            del faulty.objects[key]
        if num_requests >= request.config.getoption("requests"):
            break
    met = sorted((f"{m} {kind}", n) for (m, kind), n in faulty.met.items())
    tell(
        f"{trial + 1} builds, {num_requests} requests, "
        f"{faulty.met.total()} faults: {dict(met)}"
    )
