import json

import pytest

from tests import making_models
from transforms import storage
from transforms.models import loaders
from transforms.models import spec as model_spec
from transforms.models.card import read_card
from transforms.records import UsageError

WNIDS = ["n02088364", "n02099601"]


@pytest.fixture
def model(tmp_path):
    return making_models.write_onnx(tmp_path / "tiny.onnx", 2)


def _describe(model, groups=None):
    return model_spec.describe_model(
        str(model), model_spec.find_card(str(model)), groups
    )


@pytest.mark.parametrize("name", ["tiny.json", "model.json"])
def test_card_beside_the_model_is_found(model, name):
    assert not model_spec.find_card(str(model))
    card = making_models.write_card(model.with_name(name), WNIDS)
    assert model_spec.find_card(str(model)) == str(card)


def test_model_is_described_by_its_card(model):
    sha256 = loaders.find_model_id(str(model))
    model.with_name("keys.parquet").touch()
    trained_on = {"subset_id": "s", "split": "fold_a", "keys_file": "keys.parquet"}
    making_models.write_card(
        model.with_name("tiny.json"), WNIDS, file_sha256=sha256, trained_on=trained_on
    )
    spec = _describe(model)
    assert spec.scored.model == "tiny"
    assert spec.scored.model_id == sha256
    assert spec.scored.trained_on_split == "fold_a"
    assert spec.scored.correct == "class"
    assert spec.correct_outputs == {WNIDS[0]: (0,), WNIDS[1]: (1,)}
    assert spec.keys_file == str(model.with_name("keys.parquet"))


@pytest.mark.parametrize(
    ("file", "name"),
    [("a/net_v1.5.onnx", "net_v1.5"), ("a/model.onnx", "a"), ("a/b/", "b")],
)
@pytest.mark.parametrize("is_relative", [True, False])
def test_model_without_a_name_is_named_by_its_path(
    tmp_path, monkeypatch, file, name, is_relative
):
    if file.endswith(".onnx"):
        making_models.write_onnx(tmp_path / file, 2)
    else:
        storage.write(str(tmp_path / file), "saved_model.pb", b"")
    making_models.write_card(tmp_path / "card.json", WNIDS, model=None)
    if is_relative:
        monkeypatch.chdir(tmp_path)
    root = "" if is_relative else f"{tmp_path}/"
    spec = model_spec.describe_model(f"{root}{file}", f"{root}card.json", None)
    assert spec.card.model == spec.scored.model == name


def test_preprocessing_is_hashed(model):
    card = making_models.write_card(model.with_name("tiny.json"), WNIDS)
    first = _describe(model).scored.preprocessing_sha256
    other = {**making_models.PREPROCESSING, "resize_px": 21}
    making_models.write_card(card, WNIDS, preprocessing=other)
    assert _describe(model).scored.preprocessing_sha256 != first


def test_card_of_another_file_is_an_error(model):
    making_models.write_card(model.with_name("tiny.json"), WNIDS, file_sha256="0" * 64)
    with pytest.raises(UsageError, match="belongs to another model file"):
        _describe(model)


def test_missing_card_is_an_error_that_shows_one(model):
    with pytest.raises(UsageError, match="has no card beside it") as caught:
        _describe(model)
    shown = str(caught.value).split("A minimal card:\n")[1]
    model.with_name("tiny.json").write_text(shown)
    assert len(read_card(str(model.with_name("tiny.json"))).classes) == 1000
    assert json.loads(shown)["model"] == "NAME"


@pytest.mark.parametrize(
    ("keys_file", "expected"),
    [
        ("../keys.parquet", "must be the name of a file beside the card"),
        ("keys.parquet", "is not beside the card"),
    ],
)
def test_keys_must_be_beside_the_card(model, keys_file, expected):
    making_models.write_card(
        model.with_name("tiny.json"), WNIDS, trained_on={"keys_file": keys_file}
    )
    with pytest.raises(UsageError, match=expected):
        _describe(model)


def test_format_is_checked_before_the_card(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        _describe(tmp_path / "nowhere.keras")
