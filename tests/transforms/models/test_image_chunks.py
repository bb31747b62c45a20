import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.models import image_chunks, image_source
from transforms.records import JobError, UsageError

KEYS = pa.array(["a", "b", "c"])


def test_chunks_are_whole_batches_and_together_all_images(mini_index, tmp_path):
    source = image_source.read_index(str(mini_index), "train")
    unknown = pa.nulls(120, pa.bool_())
    known = pa.array([True] * 120)
    listed, chunks = image_chunks.make(
        source.table, seen=[unknown, known], batch_size=1000
    )
    assert [(chunk.number, chunk.num_images) for chunk in chunks] == [(0, 120)]
    image_chunks.write(str(tmp_path), listed)
    chunk = image_chunks.read(str(tmp_path), chunks[0])
    assert [ref.key for ref in chunk.refs] == source.table["key"].to_pylist()
    assert chunk.seen == [[None] * 120, [True] * 120]


def test_a_list_of_another_run_is_rejected(mini_index, tmp_path):
    table = image_source.read_index(str(mini_index), "train").table
    (data, _), (_, chunks) = (
        image_chunks.make(part, seen=[], batch_size=1000)
        for part in (table, table.slice(1))
    )
    image_chunks.write(str(tmp_path), data)
    with pytest.raises(JobError, match="another run has replaced this list"):
        image_chunks.read(str(tmp_path), chunks[0])


def test_only_the_chunk_of_a_changed_image_is_another(mini_index, monkeypatch):
    monkeypatch.setattr(image_chunks, "_CHUNK_IMAGES", 50)
    table = image_source.read_index(str(mini_index), "train").table
    seen = pa.nulls(120, pa.bool_())
    marked = pa.concat_arrays([seen[:60], pa.array([True]), seen[61:]])
    one, other = (
        image_chunks.make(table, seen=[column], batch_size=10)[1]
        for column in (seen, marked)
    )
    assert [chunk.num_images for chunk in one] == [50, 50, 20]
    assert [a == b for a, b in zip(one, other, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(1, 1024), (64, 1024), (100, 1000), (4096, 4096)]
)
def test_chunk_size_is_a_multiple_of_the_batch_size(batch_size, expected):
    assert image_chunks.chunk_size(batch_size) == expected


def test_seen_follows_the_keys(tmp_path):
    pq.write_table(pa.table({"key": ["c", "x"]}), tmp_path / "keys.parquet")
    seen = image_chunks.find_seen(KEYS, str(tmp_path / "keys.parquet"))
    assert seen.to_pylist() == [False, False, True]
    assert image_chunks.find_seen(KEYS, "").to_pylist() == [None] * 3


def test_file_without_keys_is_an_error(tmp_path):
    pq.write_table(pa.table({"keys": ["c"]}), tmp_path / "keys.parquet")
    for name in ("keys.parquet", "nowhere.parquet"):
        with pytest.raises(
            UsageError, match="is not a Parquet file with a column `key`"
        ):
            image_chunks.find_seen(KEYS, str(tmp_path / name))
