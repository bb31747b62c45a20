"""Test the sampler that selects the images of a list."""

import pyarrow as pa
import pytest

from transforms import sampling
from transforms.records import UsageError
from transforms.sampling.plan import SamplingRequest

IMAGES = {
    "n01440764_1": ("n01440764", "train"),
    "n01440764_2": ("n01440764", "train"),
    "n02110958_1": ("n02110958", "train"),
    "ILSVRC2012_val_00000001": ("n01440764", "validation"),
    "ILSVRC2012_val_00000002": ("n02110958", "validation"),
}


def arrange(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    wnids, splits = zip(*IMAGES.values(), strict=True)
    images = pa.table({"key": list(IMAGES), "wnid": wnids, "split": splits})
    # Indexes are read in row groups.
    images = pa.concat_tables([images.slice(0, 2), images.slice(2)])
    request = SamplingRequest(read_images=lambda: images, seed=0, images_file=str(path))
    module = sampling.load("list")
    return module.arrange(request, module.Options())


def test_listed_images_keep_the_split_of_the_input(tmp_path):
    text = "n02110958_1\nn01440764_2\nILSVRC2012_val_00000002\n"
    output = arrange(tmp_path, text)
    assert output.splits.to_pylist() == ["", "train", "train", "", "validation"]
    assert not output.adds_validation
    assert not output.missing


def test_splits_of_the_list_win(tmp_path):
    text = "image,split\nn01440764_2,val\nn01440764_1,fold_a\nn02110958_1,fold_b\n"
    output = arrange(tmp_path, text)
    assert output.splits.to_pylist() == ["fold_a", "validation", "fold_b", "", ""]
    assert not output.adds_validation


def test_validation_is_added_if_the_list_names_none(tmp_path):
    assert arrange(tmp_path, "n01440764_1\n").adds_validation


def test_missing_images_are_named_as_in_the_list(tmp_path):
    output = arrange(tmp_path, "a/n01440764_9.jpg\nn01440764_1\nn99999999_1.JPEG\n")
    assert output.missing == ["a/n01440764_9.jpg", "n99999999_1.JPEG"]
    assert output.splits.to_pylist() == ["train", "", "", "", ""]
    assert "2 of 3 listed images" in output.notes[0]
    nothing = arrange(tmp_path, "n99999999_1.JPEG\n")
    assert set(nothing.splits.to_pylist()) == {""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image,wnid\nILSVRC2012_val_00000002,n01440764\n",
            "ILSVRC2012_val_00000002: the list gives n01440764, the input n02110958",
        ),
        (
            "n01440764/ILSVRC2012_val_00000002.JPEG\n",
            "the list gives n01440764, the input n02110958; correct the list",
        ),
        (
            "image,split\nILSVRC2012_val_00000002,train\n",
            "1 validation images of the input are listed for training (ILSVRC2012_val",
        ),
        (
            "image,split\nn01440764_1,train\nn01440764_2,fold_a\n",
            "has the splits fold_a, train; give either train, or fold_a and fold_b",
        ),
    ],
)
def test_lists_that_contradict_the_input_are_refused(tmp_path, text, expected):
    with pytest.raises(UsageError) as caught:
        arrange(tmp_path, text)
    assert expected in str(caught.value)
