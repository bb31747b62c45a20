"""Write samples of any source, and verify the datasets."""

import json
import tarfile

import pyarrow.parquet as pq
import pytest

from pipelines import verify
from tests import building, making
from transforms.dataset import samples
from transforms.dataset.samples import Sample, SampleOptions, write_samples
from transforms.images.settings import ImageSettings
from transforms.records import UsageError

OPTIONS = SampleOptions(
    name="pets",
    formats=("webdataset", "folders", "parquet", "tfrecord"),
    images_per_shard=8,
    label_names=("cat", "dog"),
)
TARS = SampleOptions(name="pets", formats=("webdataset",))


def draw(number, split="train"):
    image = making.jpeg_bytes(number, size=(24 + number, 20))
    fields = {"url": f"http://x/{number}", "split": split}
    return Sample(f"pet_{number:02d}", image, number % 2, fields)


DRAWN = [draw(n, "validation" if n % 5 == 0 else "train") for n in range(30)]


def refuse(tmp_path, given, *expected, options=TARS):
    with pytest.raises(UsageError) as caught:
        write_samples(given, str(tmp_path), options)
    for text in expected:
        assert text in str(caught.value)
    assert not list(tmp_path.glob("**/*.*"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    output = tmp_path_factory.mktemp("written")
    return output / write_samples(iter(DRAWN), str(output), OPTIONS)


def test_dataset_is_verified(directory, capsys):
    with pytest.raises(SystemExit) as ended:
        verify.main([str(directory), "--readers=webdataset"])
    assert not ended.value.code
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok: ")


def test_images_and_fields_are_kept(directory):
    written = {}
    for path in directory.glob("*/*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                written[path.parent.name, member.name] = tar.extractfile(member).read()
    assert len(written) == 3 * len(DRAWN)
    table = pq.read_table(directory / "__meta__/samples.parquet").to_pydict()
    fields = dict(zip(table["key"], map(json.loads, table["json"]), strict=True))
    for key, image, label, given in DRAWN:
        split = given["split"]
        assert written[split, f"{key}.jpg"] == image
        assert written[split, f"{key}.cls"] == str(label).encode()
        assert fields[key] == {"url": given["url"]}
    names = [group["name"] for group in building.read_json(directory, "classes.json")]
    assert names == ["cat", "dog"]
    folders = {path.name for path in (directory / "folders/train").iterdir()}
    assert folders == {"000_cat", "001_dog"}


def test_order_and_processes_do_not_change_the_bytes(directory, tmp_path):
    options = SampleOptions(**{**vars(OPTIONS), "num_processes": 2})
    again = write_samples(reversed(DRAWN), str(tmp_path), options)
    assert building.checksums(tmp_path / again) == building.checksums(directory)


def test_classes_and_sizes_are_used(tmp_path):
    options = SampleOptions(
        name="fish", formats=("folders",), images=ImageSettings(image_size=16)
    )
    wnids = ("n01440764", "n02123159")
    given = [(k, i, n, {"wnid": wnids[n]}) for k, i, n, _ in DRAWN]
    directory = tmp_path / write_samples(given, str(tmp_path), options)
    assert {row["fine_label"] for row in building.manifest(directory)} == {0, 282}
    assert {row["height"] for row in building.manifest(directory)} == {16}
    assert not (directory / "__meta__/samples.parquet").exists()
    swapped = [(k, i, 1 - n, f) for k, i, n, f in given]
    refuse(
        tmp_path / "swapped", swapped, "must be in the order of their smallest wnids"
    )


def test_problems_of_samples_are_named_together(tmp_path):
    image = DRAWN[0].image
    given = [
        ("a", image, 0),
        ("a", image, 1),
        ("a.b", image, 0),
        ("", image, 0),
        ("b", "text", 0),
        ("c", image, -1),
        ("d", image, True),
        ("e", image, 0, {"split": "test"}),
        ("f", image, 0, {"wnid": "dog"}),
        ("g", image, 0, {"score": float("nan")}),
        ("h", image),
    ]
    refuse(
        tmp_path,
        given,
        "sample 2 ('a'): another sample has this key",
        "sample 3 ('a.b'): the key must have 1 to 90 letters",
        "sample 4 (''): the key must have",
        "sample 5 ('b'): the image must be the bytes of a file",
        "sample 6 ('c'): label -1 must be an integer from 0",
        "sample 7 ('d'): label True must be an integer from 0",
        "sample 8 ('e'): split 'test' must be train or validation",
        "sample 9 ('f'): wnid 'dog' must be an n with eight digits",
        "sample 10: is not a Sample",
        "sample 11: is not a Sample",
    )


def test_other_problems_are_refused(tmp_path):
    refuse(tmp_path, [], "samples: there are none")
    refuse(tmp_path, [Sample("a", DRAWN[0].image, 2)], "labels 0, 1: have no sample")
    two = [Sample("a", b"no image", 0), Sample("b", DRAWN[0].image, 0)]
    refuse(tmp_path, two, "sample 'a': ", "; leave it out")
    options = SampleOptions(
        name="Pets", formats=("tar",), version="1", images_per_shard=0, num_processes=-1
    )
    words = ("name Pets: ", "formats: tar is not a format", "version 1: must be x.y.z")
    words += ("images_per_shard 0", "num_processes -1")
    refuse(tmp_path, DRAWN, *words, options=options)


def test_failing_source_leaves_nothing(tmp_path):
    def fail():
        yield from DRAWN
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError):
        write_samples(fail(), str(tmp_path), TARS)
    assert not list(tmp_path.glob("**/*.*"))
    first = write_samples(DRAWN, str(tmp_path), TARS)
    refuse_again = pytest.raises(
        UsageError, match="exists; give another name or version"
    )
    with refuse_again:
        write_samples(DRAWN, str(tmp_path), TARS)
    assert (tmp_path / first / "__meta__/complete.json").exists()


def test_example_of_the_reference_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = samples.__doc__.splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith("    "))
    photos = [(k, i, n, f["url"]) for k, i, n, f in DRAWN]
    names: dict[str, object] = {"photos": photos}
    exec(code, names)
    assert names["folder"] == str(tmp_path / "datasets/pets/1.0.0")
