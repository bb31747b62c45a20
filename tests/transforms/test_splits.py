import pytest

from transforms import splits
from transforms.records import UsageError

TRAINING = [f"n01440764_{n}" for n in range(9)]
VALIDATION = [f"ILSVRC2012_val_{n:08d}" for n in range(9)]
TEST = [f"ILSVRC2012_test_{n:08d}" for n in range(9)]
OTHERS = [f"sketch_{n}" for n in range(9)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("TRAIN", "train"),
        ("Training", "train"),
        ("train.X1", "train"),
        ("ILSVRC2012_img_train", "train"),
        ("ILSVRC2012_img_train_t3.tar", "train"),
        ("imagenet1k-train-*.tar", "train"),
        ("ImageNetTrain", "train"),
        ("fold_a", "train"),
        ("small-fold_b-*-of-*.tar", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("Validation", "validation"),
        ("val.X", "validation"),
        ("imagenet_val", "validation"),
        ("imagenetval", "validation"),
        ("val_sorted", "validation"),
        ("ILSVRC2012_img_val.tar", "validation"),
        ("test", "test"),
        ("ILSVRC2012_img_test_v10102019.tar", "test"),
        ("dev", "test"),
        ("train_and_val", ""),
        ("test_imagenet", ""),
        ("restrained", ""),
        ("interval", ""),
        ("fold_abc", ""),
        ("imagenet", ""),
    ],
)
def test_names_state_splits(name, split):
    assert splits.parse_split(name) == split


def test_the_nearest_folder_states_the_split():
    assert splits.parse_path("train/imagenet_val/images") == "validation"
    assert splits.parse_path("train.tar/a/b") == "train"
    assert splits.parse_path("a/b") == ""


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("n01440764_10026", "train"),
        ("n01440764_10026_n01440764", "train"),
        ("ILSVRC2012_val_00000001", "validation"),
        ("ILSVRC2012_VAL_00000001", "validation"),
        ("ILSVRC2012_test_00000001", "test"),
        ("val_0", ""),
        ("0000001", ""),
        ("n01440764_tench", ""),
    ],
)
def test_official_names(key, split):
    assert splits.find_official_split(key) == split


@pytest.mark.parametrize(
    ("stated", "names", "split"),
    [
        ("train", TRAINING, "train"),
        ("train", OTHERS, "train"),
        ("train", [], "train"),
        ("train", VALIDATION[:4] + TRAINING[:5], "train"),  # Imagenette's
        ("validation", VALIDATION, "validation"),
        ("validation", TRAINING, "validation"),  # Imagenette's
        ("", TRAINING, "train"),
        ("", VALIDATION, "validation"),
        ("", VALIDATION[:5] + TRAINING[:4], "validation"),
    ],
)
def test_split_is_decided(stated, names, split):
    assert splits.decide("place", stated, names) == split


@pytest.mark.parametrize(
    ("stated", "names", "problem"),
    [
        (
            "train",
            VALIDATION,
            "training images, but 9 of 9 sampled image .* of validation",
        ),
        ("train", VALIDATION[:5] + TRAINING[:4], "5 of 9 .*_00000001, ILSVRC2012"),
        (
            "validation",
            TEST,
            "validation images, but 9 of 9 sampled image names .* of test",
        ),
        ("", OTHERS, r"names of its images \(sketch_0, sketch_1, sketch_2\) tell"),
        ("", TEST, "named as test images .* which have no labels"),
        ("test", TEST, "its name says test images, which are not used"),
        ("test", OTHERS, "its name says test images, which are not used"),
        ("test", VALIDATION, "says test images, but 9 of 9 .* of validation images"),
        ("", [], "no usable images in place"),
    ],
)
def test_unclear_split_is_an_error(stated, names, problem):
    with pytest.raises(UsageError, match=problem) as raised:
        splits.decide("place", stated, names)
    if stated in splits.FLAGS or names == OTHERS:
        remedy = "give it with --train_input or --validation_input instead of --input"
        assert remedy in str(raised.value)


def test_names_of_tables_and_logs_are_not_plain():
    assert splits.is_plain("ILSVRC2012_img_train.tar.gz")
    assert splits.is_plain("Val")
    assert not splits.is_plain("ILSVRC2012_bbox_train_v2.tar.gz")
    assert not splits.is_plain("training_logs")
