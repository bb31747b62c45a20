"""Tests of inference with models that are plain functions."""

import dataclasses
import threading

import numpy as np
import pyarrow as pa
import pytest

from tests import making, making_models
from transforms.models import inference
from transforms.models.card import ModelCard, Preprocessing
from transforms.models.image_chunks import Images
from transforms.models.inference import InferenceSettings, Predictor
from transforms.models.loaders.loaded_model import LoadedModel, ModelError
from transforms.models.spec import ModelSpec
from transforms.predictions.table import ModelClass, ScoredModel
from transforms.records import ByteRange, ImageRef, JobError

WNIDS = ("n00000001", "n00000002", "n00000003")
SETTINGS = Preprocessing(
    **{k: tuple(v) if isinstance(v, list) else v
       for k, v in making_models.PREPROCESSING.items()}
)  # fmt: skip
NUM_IMAGES = 21


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    refs = []
    for number in range(NUM_IMAGES):
        data = making.jpeg_bytes(number)
        (folder / f"{number}.JPEG").write_bytes(data)
        wnid = WNIDS[number % 3]
        name = f"{number}.JPEG"
        location = ByteRange(0, len(data))
        refs.append(ImageRef(f"{wnid}_{number}", wnid, "train", 0, name, location))
    return str(folder), refs


def _spec(**changes):
    card = ModelCard(
        model="tiny",
        classes=tuple(ModelClass(wnid, (wnid,)) for wnid in WNIDS),
        preprocessing=SETTINGS,
    )
    scored = ScoredModel(
        model="tiny",
        model_id="id",
        classes=card.classes,
        trained_on_subset_id="",
        trained_on_split="",
        correct="class",
    )
    outputs = {wnid: (number,) for number, wnid in enumerate(WNIDS)}
    spec = ModelSpec(
        path="tiny.onnx", card=card, scored=scored, correct_outputs=outputs
    )
    return dataclasses.replace(spec, **changes)


def _run_tiny(batch):
    return making_models.expect(batch, 3).astype(np.float32)


def _predict(
    images, *, specs=None, run=_run_tiny, batch_size=4, threads=2, seen=None, **more
):
    root, refs = images
    specs = specs or [_spec()]
    settings = InferenceSettings(
        models=tuple(specs),
        roots=[root],
        batch_size=batch_size,
        num_threads=threads,
        **more,
    )
    models = [LoadedModel(run, is_on_gpu=False)] * len(specs)
    columns = seen or [[None] * len(refs)] * len(specs)
    (predicted,) = Predictor(settings, models).predict([Images(refs, columns)])
    return predicted


def test_scores_are_those_of_each_image_in_order(images):
    (table,), (counts,), failures = _predict(images, seen=[[True] * NUM_IMAGES])
    _, refs = images
    pixels = np.stack([
        inference.preprocess(making.jpeg_bytes(number), SETTINGS)
        for number in range(NUM_IMAGES)
    ])
    expected = making_models.expect(inference.make_batch(pixels, SETTINGS), 3)
    right = expected[range(NUM_IMAGES), [number % 3 for number in range(NUM_IMAGES)]]
    np.testing.assert_allclose(table["p_correct"].to_numpy(), right, atol=1e-6)
    assert table["key"].to_pylist() == [ref.key for ref in refs]
    assert table["seen"].to_pylist() == [True] * NUM_IMAGES
    assert [row[0] for row in table["top5"].to_pylist()] == expected.argmax(1).tolist()
    assert counts.num_images == counts.num_top5 == NUM_IMAGES
    assert counts.sum_correct == pytest.approx(right.sum())
    assert failures == ()


def test_every_batch_is_padded_to_the_batch_size(images):
    shapes = []

    def run(batch):
        shapes.append(batch.shape)
        return _run_tiny(batch)

    (table,), _, _ = _predict(images, run=run, batch_size=8)
    assert shapes == [(8, 16, 16, 3)] * 3
    assert len(table) == NUM_IMAGES


def test_threads_change_nothing(images):
    once = _predict(images, threads=1)
    for _ in range(3):
        again = _predict(images, threads=4)
        assert again.tables[0].equals(once.tables[0])
        assert again.accuracy_counts == once.accuracy_counts


def test_threads_do_not_wait_at_the_end_of_a_chunk(images):
    """Four batches of two chunks run at once, or none returns."""
    root, refs = images
    together = threading.Barrier(4, timeout=60)

    def run(batch):
        together.wait()
        return _run_tiny(batch)

    settings = InferenceSettings(
        models=(_spec(),), roots=[root], batch_size=4, num_threads=4
    )
    chunks = [Images(refs[n : n + 8], [[None] * 8]) for n in (0, 8)]
    predictor = Predictor(settings, [LoadedModel(run, is_on_gpu=False)])
    first, second = predictor.predict(chunks)
    assert first.tables[0]["key"].to_pylist() == [ref.key for ref in refs[:8]]
    assert second.tables[0]["key"].to_pylist() == [ref.key for ref in refs[8:16]]


def test_probabilities_are_kept_if_requested(images):
    (table,), _, _ = _predict(images, keep_probabilities=True)
    kept = np.array(table["probabilities"].to_pylist())
    assert kept.shape == (NUM_IMAGES, 3)
    np.testing.assert_allclose(kept.sum(axis=1), 1, atol=2e-3)
    assert "probabilities" not in _predict(images).tables[0].column_names


def test_several_models_share_decoded_images(images):
    larger = Preprocessing(resize_px=30, crop_px=24)
    other = _spec()
    card = dataclasses.replace(other.card, preprocessing=larger)
    specs = [other, dataclasses.replace(other, card=card)]
    tables, _, _ = _predict(images, specs=specs)
    assert [len(table) for table in tables] == [NUM_IMAGES] * 2
    assert not tables[0]["p_correct"].equals(tables[1]["p_correct"])


def test_images_of_classes_without_an_output_are_left_out(images):
    few = _spec(correct_outputs={WNIDS[1]: (1,)})
    (some, all_of_them), accuracy_counts, _ = _predict(images, specs=[few, _spec()])
    assert set(some["wnid"].to_pylist()) == {WNIDS[1]}
    assert [counts.num_images for counts in accuracy_counts] == [7, NUM_IMAGES]
    whole = all_of_them.filter(pa.compute.equal(all_of_them["wnid"], WNIDS[1]))
    assert some.equals(whole)


@pytest.mark.parametrize("broken", [{3}, {0, 1, 2, 3}, set(range(NUM_IMAGES))])
def test_unreadable_images_are_failures_and_the_others_scored(images, broken):
    root, refs = images
    refs = [
        ref._replace(location=ByteRange(0, 200)) if number in broken else ref
        for number, ref in enumerate(refs)
    ]
    (table,), (counts,), failures = _predict((root, refs))
    assert [f.key for f in failures] == [refs[n].key for n in sorted(broken)]
    assert failures[0].place == f"{min(broken)}.JPEG at byte 0"
    assert counts.num_images == len(table) == NUM_IMAGES - len(broken)


def test_invalid_outputs_name_the_first_image(images):
    def run(batch):
        outputs = _run_tiny(batch)
        outputs[1] = 0.5
        return outputs

    with pytest.raises(JobError, match=rf"{WNIDS[1]}_1 \(1.JPEG at byte 0\) has outp"):
        _predict(images, run=run, threads=1)


def test_model_that_fails_is_named(images):
    def run(_):
        raise ModelError("inference failed: no memory")

    with pytest.raises(JobError, match=r"tiny\.onnx: inference failed: no memory"):
        _predict(images, run=run)


def test_outputs_of_another_shape_are_an_error():
    grey = inference.make_greys(SETTINGS)
    model = LoadedModel(lambda _: np.zeros((4, 2)), is_on_gpu=False)
    with pytest.raises(ModelError, match=r"returns outputs of shape \(4, 2\), not"):
        inference.predict_batch(_spec(), model, grey, 4)
