"""Tests of writing and reading cards, and of every problem in them."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests import making_models
from transforms.models import card as model_card
from transforms.models.card import ModelCard, Preprocessing, TrainedOn, read_card
from transforms.predictions.table import ModelClass
from transforms.records import UsageError

WNIDS = ["n02088364", "n02099601"]


def _write(tmp_path, **changes):
    classes = changes.pop("classes", WNIDS)
    return str(making_models.write_card(tmp_path / "m.json", classes, **changes))


def test_card_is_read_as_it_was_written(tmp_path):
    written = ModelCard(
        model="m",
        classes=(ModelClass("dogs", tuple(WNIDS)), ModelClass("x", ("n02123159",))),
        preprocessing=Preprocessing(
            resize_px=40, crop_px=32, mean=(1.0, 2.0, 3.0), channel_order="bgr"
        ),
        output="logits",
        trained_on=TrainedOn(subset_id="s", split="train", keys_file="keys.parquet"),
        file_sha256="0" * 64,
        training={"epochs": 3},
    )
    (tmp_path / "m.json").write_bytes(model_card.to_bytes(written))
    assert read_card(str(tmp_path / "m.json")) == written
    assert not written.is_fine


def test_the_page_about_cards_has_an_example_and_all_fields(tmp_path):
    page = (Path(__file__).parents[3] / "docs/model_cards.md").read_text()
    (tmp_path / "m.json").write_text(page.split("```json\n")[1].split("```")[0])
    assert len(read_card(str(tmp_path / "m.json")).classes) == 1000
    for kind in (ModelCard, Preprocessing, TrainedOn):
        names = {field.name for field in dataclasses.fields(kind)} - {"unused"}
        assert {name for name in names if f"`{name}`" not in page} == set()
    outputs = json.loads(page.split("classes:\n`")[1].split("`")[0])
    assert read_card(_write(tmp_path, classes=outputs)).num_outputs == 1001


def test_classes_can_be_listed_in_several_ways(tmp_path):
    dogs = {"name": "dogs", "wnids": WNIDS}
    found = read_card(_write(tmp_path, classes=[dogs, ["n02123159"], "n02123394"]))
    assert [c.wnids for c in found.classes] == [
        tuple(WNIDS),
        ("n02123159",),
        ("n02123394",),
    ]
    assert found.classes[0].name == "dogs"
    assert found.classes[1].name == "tiger cat"
    imagenet = read_card(_write(tmp_path, classes="imagenet"))
    assert len(imagenet.classes) == 1000
    assert imagenet.is_fine


@pytest.mark.parametrize(
    "background",
    [
        None, [], "background", " Background", ["background"],
        {"name": "background", "wnids": []}, {"wnids": None},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("position", [0, 1, 2])
def test_outputs_that_are_no_class_are_said_in_several_ways(
    tmp_path, background, position
):
    outputs = list(WNIDS)
    outputs.insert(position, background)
    card = read_card(_write(tmp_path, classes=outputs))
    assert [c.wnids for c in card.classes] == [(wnid,) for wnid in WNIDS]
    assert (card.unused, card.num_outputs, card.is_fine) == ((position,), 3, True)
    (tmp_path / "m.json").write_bytes(model_card.to_bytes(card))
    assert read_card(str(tmp_path / "m.json")) == card


def test_imagenet_stands_for_its_classes_in_a_list(tmp_path):
    for outputs, unused in (([None, "imagenet"], 0), (["imagenet", None], 1000)):
        card = read_card(_write(tmp_path, classes=outputs))
        assert card.classes == model_card.imagenet_classes()
        assert (card.unused, card.num_outputs) == ((unused,), 1001)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"classes": None}, "classes: must list the wnids of each output"),
        ({"classes": ["n02088364"]}, "classes: must list"),
        ({"classes": [*WNIDS, "dog"]}, "classes: output 2 has no valid wnids ('dog')"),
        (
            {"classes": [*WNIDS, ""]},
            "classes: output 2 has no valid wnids (''); give nu",
        ),
        ({"classes": [*WNIDS, ["background", "x"]]}, "output 2 has no valid wnids"),
        (
            {"classes": [WNIDS[0], None]},
            "classes: 1 of 2 outputs are classes, not 2 or more",
        ),
        ({"classes": ["imagenet", WNIDS[0]]}, "n02088364 belong to several outputs"),
        ({"classes": [*WNIDS, {"name": "dog"}]}, "output 2 has no valid wnids"),
        ({"classes": WNIDS * 2}, "n02088364, n02099601 belong to several outputs"),
        ({"preprocessing": None}, "preprocessing: is missing"),
        ({"preprocessing": {"resize_px": 9}}, "preprocessing: crop_px is missing"),
        ({"output": "scores"}, "output 'scores': must be probabilities or logits"),
        ({"trained_on": {"set": "x"}}, "trained_on: unknown field set"),
        ({"trained_on": {"split": 3}}, "trained_on: split cannot be 3"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_problems_are_named(tmp_path, changes, expected):
    with pytest.raises(UsageError) as caught:
        read_card(_write(tmp_path, **changes))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resize_px": 0}, "resize_px 0: must be 1 to 4096"),
        ({"resize_px": 8}, "crop_px 16: must not exceed resize_px 8"),
        ({"resize_px": True}, "resize_px cannot be True"),
        ({"std": [1, 0, 1]}, "std [1, 0, 1]: must be above 0"),
        ({"mean": [1, 2]}, "mean cannot be [1, 2]"),
        ({"mean": "imagenet"}, "mean cannot be 'imagenet'"),
        ({"channel_order": "rbg"}, "channel_order rbg: must be rgb or bgr"),
        ({"layout": "NHWC"}, "layout NHWC: must be channels_last or channels_first"),
        ({"size": 3}, "unknown field size"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_problems_of_preprocessing_are_named(tmp_path, changes, expected):
    changed = {**making_models.PREPROCESSING, **changes}
    with pytest.raises(UsageError) as caught:
        read_card(_write(tmp_path, preprocessing=changed))
    assert f"preprocessing: {expected}" in str(caught.value)


def test_all_problems_are_reported_at_once(tmp_path):
    changes = {
        "classes": ["dog", WNIDS[0], "cat", WNIDS[0]],
        "preprocessing": {"resize_px": "9", "mean": [1], "layout": "x", "size": 3},
        "output": "scores",
        "trained_on": {"split": 3, "subset_id": 4},
    }
    with pytest.raises(UsageError) as caught:
        read_card(_write(tmp_path, **changes))
    lines = str(caught.value).replace(f"{tmp_path}/m.json: ", "").splitlines()
    assert lines == [
        "classes: output 0 has no valid wnids ('dog'), output 2 has no valid wnids "
        "('cat'); give null for an output that is no class",
        "classes: n02088364 belong to several outputs",
        "preprocessing: unknown field size",
        "preprocessing: crop_px is missing",
        "preprocessing: mean cannot be [1]",
        "preprocessing: resize_px cannot be '9'",
        "preprocessing: layout x: must be channels_last or channels_first",
        "trained_on: split cannot be 3",
        "trained_on: subset_id cannot be 4",
        "output 'scores': must be probabilities or logits",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not a card"),
        ("{}", "classes: must list"),
    ],
    ids=["empty", "deep", "list", "bare"],
)
def test_files_that_are_not_cards_are_rejected(tmp_path, text, expected):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(UsageError, match=expected):
        read_card(str(tmp_path / "m.json"))


def test_missing_and_giant_cards_are_rejected(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_card(str(tmp_path / "m.json"))
    (tmp_path / "m.json").write_text(json.dumps(" " * (1 << 24)))
    with pytest.raises(UsageError, match="too large for a card"):
        read_card(str(tmp_path / "m.json"))
