import numpy as np
import pyarrow as pa
import pytest

from tests import making_predictions
from transforms import npz, seeds
from transforms.confusion import counts as confusion_counts
from transforms.confusion.counts import survey
from transforms.labels.classes import load_classes
from transforms.labels.validation import official_labels
from transforms.predictions import table as predictions_table
from transforms.records import UsageError

WNIDS = [info.wnid for info in load_classes()]
A, B = (making_predictions.scored(WNIDS[:3], model_id=name) for name in "ab")


def _rows(numbers, *, model=A, shift=0, seen=None):
    """Return rows of these images, of three alternating classes."""
    keys = [f"k{number}" for number in numbers]
    wnids = [WNIDS[(number + shift) % 3] for number in numbers]
    answers = np.tile([0.5, 0.3, 0.2], (len(keys), 1))
    return making_predictions.rows(model, keys, wnids, answers, seen=seen)


def _write(path, *tables, models=(A,)):
    return making_predictions.write(path, models, *tables)


def test_survey_has_classes_parts_and_halves_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions_table, "ROWS_IN_GROUP", 4)
    path = _write(tmp_path / "p.parquet", _rows(range(10)))
    found = survey([path], seed=5)
    assert found.pieces == ((path, 0), (path, 1), (path, 2))
    assert (found.models, found.wnids) == (("cnn",), tuple(WNIDS[:3]))
    assert (found.num_images, found.num_seen) == (10, 0)
    for number, cutoff in enumerate(found.cutoffs):
        own = [f"k{n}" for n in range(10) if n % 3 == number]
        own.sort(key=lambda key: seeds.order(5, "fold", key))
        last = own[-(-len(own) // 2) - 1]
        assert cutoff == (seeds.order(5, "fold", last), last)


def test_an_npz_file_is_one_part_of_all_classes(tmp_path):
    path = tmp_path / "vgg16.npz"
    path.write_bytes(npz.to_npz_bytes({"top5": np.tile(np.arange(5), (50_000, 1))}))
    found = survey([str(path)], seed=0)
    assert found.pieces == ((str(path), 0),)
    assert (found.models, found.wnids) == (("vgg16",), tuple(WNIDS))
    keys = official_labels()
    assert [keys[cutoff.key] for cutoff in found.cutoffs] == WNIDS
    assert (found.num_images, found.by_rank) == (50_000, (str(path),))


def test_halves_do_not_depend_on_the_files_of_an_image(tmp_path):
    one = _write(tmp_path / "a.parquet", _rows(range(30)))
    other = _write(tmp_path / "b.parquet", _rows(range(29, 9, -1), model=B), models=[B])
    alone, both = survey([one], seed=0), survey([other, one], seed=0)
    assert both.cutoffs == alone.cutoffs
    assert (both.num_images, both.models) == (50, ("cnn",))


def test_row_order_changes_nothing(tmp_path):
    rows = _rows(range(30))
    mixed = rows.take(np.random.default_rng(0).permutation(30))
    one, two = (
        survey([_write(tmp_path / f"{number}.parquet", table)], seed=0)
        for number, table in enumerate((rows, mixed))
    )
    assert (one.wnids, one.cutoffs) == (two.wnids, two.cutoffs)


def test_images_that_a_model_was_trained_on_are_counted(tmp_path):
    tables = (
        _rows(range(3), seen=True),
        _rows(range(3, 5), seen=False),
        _rows([9]),
    )
    found = survey([_write(tmp_path / "p.parquet", *tables)], seed=0)
    assert (found.num_images, found.num_seen) == (6, 3)


def test_files_with_and_without_probabilities_are_distinguished(tmp_path):
    model = making_predictions.scored(WNIDS[:2], "mlp")
    kept = making_predictions.rows(model, ["k0"], WNIDS[:1], [[1, 0]], keep=True)
    paths = [
        _write(tmp_path / "kept.parquet", kept, models=[model]),
        _write(tmp_path / "not.parquet", _rows(range(5))),
    ]
    found = survey(paths, seed=0)
    assert (found.by_probabilities, found.by_rank) == ((paths[0],), (paths[1],))


def _problem(paths):
    with pytest.raises(UsageError) as caught:
        survey(paths, seed=0)
    return str(caught.value)


def test_an_image_has_one_prediction_per_model(tmp_path):
    twice = _write(tmp_path / "p.parquet", _rows([1, 2, 3, 4]), _rows([4, 3]))
    assert _problem([twice]).startswith(
        f"--predictions {twice}: has several predictions of cnn for 2 images, e.g. k3; "
    )
    one = _write(tmp_path / "one.parquet", _rows(range(5)))
    two = _write(tmp_path / "two.parquet", _rows(range(4, 9)))
    assert _problem([one, two]) == (
        f"--predictions {two}: {one} also has predictions of cnn, for 1 of the same "
        "images; rename the file, or give only one"
    )
    apart = _write(tmp_path / "apart.parquet", _rows(range(5, 9)))
    assert survey([one, apart], seed=0).num_images == 9


def test_an_image_has_one_class(tmp_path):
    one = _write(tmp_path / "one.parquet", _rows(range(9)))
    other = _write(tmp_path / "b.parquet", _rows([2], model=B, shift=1), models=[B])
    assert f"{other}: image k2 has class {WNIDS[0]}, but {WNIDS[2]} in an" in (
        _problem([one, other])
    )


def test_a_matrix_needs_two_classes_and_not_too_many(tmp_path, monkeypatch):
    one = _write(tmp_path / "one.parquet", _rows([0, 3]))
    assert "has images of 1 class; 2 to 4000 are allowed" in _problem([one])
    monkeypatch.setattr(confusion_counts, "MAX_CLASSES", 2)
    three = _write(tmp_path / "three.parquet", _rows([0, 1, 2]))
    assert "has images of 3 classes; 2 to 2 are allowed" in _problem([three])


def test_problems_of_all_files_are_reported_at_once(tmp_path):
    strange = _rows([0, 1])
    strange = strange.set_column(2, strange.schema.field(2), pa.array(["cat", "dog"]))
    gaps = _rows([0, 1])
    gaps = gaps.set_column(0, gaps.schema.field(0), pa.array([None, "k"]))
    group = making_predictions.scored([WNIDS[0], f"{WNIDS[1]}+{WNIDS[2]}"])
    grouped = making_predictions.rows(group, ["k"], WNIDS[:1], [[1, 0]])
    paths = [
        _write(tmp_path / "gaps.parquet", gaps),
        _write(tmp_path / "grouped.parquet", grouped, models=[group]),
        str(tmp_path / "none.parquet"),
        str(tmp_path / "none.npz"),
    ]
    lines = _problem(paths).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"--predictions {path}" for path in paths
    ]
    assert "column key has missing values" in lines[0]
    assert "predicts groups, not classes" in lines[1]
    assert "'cat', 'dog': not a wnid" in _problem([
        _write(tmp_path / "s.parquet", strange)
    ])
