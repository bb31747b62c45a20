"""Test the contract of all samplers."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms import sampling, seeds
from transforms.sampling.plan import NEVER, SCOPES, SamplingRequest

NUM_IMAGES = 200


@pytest.fixture
def request_of(tmp_path):
    keys = [f"n00000001_{n}" for n in range(NUM_IMAGES)]
    path = tmp_path / "difficulty.parquet"
    p_correct = [seeds.order(0, "draw", key) % 1001 / 1000 for key in keys]
    table = pa.table({"key": keys, "p_correct": pa.array(p_correct, pa.float32())})
    pq.write_table(table, path)
    listed = tmp_path / "images.txt"
    listed.write_text("\n".join(keys[::3]))

    def make(seed=0, order=range(NUM_IMAGES)):
        images = pa.table({
            "key": [keys[n] for n in order],
            "label": pa.array([n % 3 for n in order], pa.int32()),
            "wnid": ["n00000001" for n in order],
            "split": ["train" for n in order],
        })
        return SamplingRequest(
            read_images=lambda: images,
            seed=seed,
            difficulty_file=str(path),
            images_file=str(listed),
        )

    return make


FIXED = [name for name in sampling.SAMPLERS if sampling.is_fixed(name)]


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_selection_depends_only_on_the_key(name, request_of):
    module = sampling.load(name)
    splits = module.arrange(request_of(), module.Options()).splits.to_pylist()
    assert len(splits) == NUM_IMAGES
    assert set(splits) == {"", "train"}
    turned = range(NUM_IMAGES)[::-1]
    other = module.arrange(request_of(seed=7, order=turned), module.Options())
    assert other.splits.to_pylist() == splits[::-1]


@pytest.mark.parametrize("name", [n for n in sampling.SAMPLERS if n not in FIXED])
def test_stratum_and_order_depend_only_on_the_key(name, request_of):
    module = sampling.load(name)
    found = module.arrange(request_of(), module.Options())
    if found is None:
        return  # hashes decide, which the plan's own tests cover
    assert found.parts.shape == (NUM_IMAGES,)
    assert found.parts.min() >= NEVER
    assert found.scope in SCOPES
    again = module.arrange(request_of(), module.Options())
    assert again.parts.tolist() == found.parts.tolist()
    turned = np.arange(NUM_IMAGES)[::-1]
    other = module.arrange(request_of(order=turned), module.Options())
    assert other.parts[turned].tolist() == found.parts.tolist()


@pytest.mark.parametrize("name", sampling.SAMPLERS)
def test_module_docstring_starts_with_a_sentence(name):
    assert sampling.load(name).__doc__.splitlines()[0].endswith(".")
