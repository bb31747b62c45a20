import nltk.corpus
import nltk.data
import numpy as np
import pytest
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from nltk.corpus.util import LazyCorpusLoader

from tests import making_wordnet
from transforms.labels import make_wordnet_table, wordnet
from transforms.labels.classes import load_classes
from transforms.labels.wordnet import Synset
from transforms.records import UsageError

TENCH, GOLDFISH, CRANE_BIRD, CRANE_MACHINE = (
    "n01440764",
    "n01443537",
    "n02012849",
    "n03126707",
)


pytestmark = pytest.mark.filterwarnings("ignore:The multilingual functions")


@pytest.fixture
def nltk_folder(tmp_path, monkeypatch):
    """Point NLTK to an empty folder, as if it had loaded nothing yet."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    fresh = LazyCorpusLoader("wordnet", WordNetCorpusReader, None)
    monkeypatch.setattr(nltk.corpus, "wordnet", fresh)
    return tmp_path / "corpora" / "wordnet"


def test_closure_holds_the_thousand_and_all_their_ancestors():
    closure = wordnet.load_closure()
    assert len(closure) == 1860
    assert closure.keys() >= {info.wnid for info in load_classes()}
    parents = [parent for synset in closure.values() for parent in synset.hypernyms]
    assert len(parents) == 1937
    assert set(parents) <= closure.keys()
    assert [wnid for wnid, s in closure.items() if not s.hypernyms] == ["n00001740"]


def test_lemmas_of_the_thousand_are_those_of_the_table_of_classes():
    closure = wordnet.load_closure()
    assert all(closure[info.wnid].lemmas == info.lemmas for info in load_classes())


def test_lemmas_and_hypernyms_of_a_wnid():
    assert wordnet.lemmas(TENCH) == ("tench", "Tinca tinca")
    assert wordnet.hypernyms(TENCH) == ("n01439121",)
    assert wordnet.hypernyms("n02084071") == ("n01317541", "n02083346")  # dog


def test_path_goes_from_the_root_by_the_most_telling_hypernyms():
    # A dog is a canine too, but more of the 1000 are canines than domestic animals.
    dog = ("animal", "domestic animal", "dog", "toy dog", "Chihuahua")
    assert wordnet.path("n02085620")[-5:] == dog
    assert wordnet.path(TENCH)[:2] == ("entity", "physical entity")


def test_similarity_is_the_shared_part_of_the_paths():
    wnids = [TENCH, GOLDFISH, CRANE_BIRD, CRANE_MACHINE]
    likeness = wordnet.similarities(wnids)
    assert np.array_equal(likeness, likeness.T)
    assert np.array_equal(likeness.diagonal(), np.ones(4))
    fish, bird, machine = likeness[0, 1:]
    assert 1 > fish > bird > machine > 0
    shared = 0
    for one, other in zip(wordnet.path(TENCH), wordnet.path(GOLDFISH), strict=False):
        if one != other:
            break
        shared += 1
    lengths = len(wordnet.path(TENCH)) + len(wordnet.path(GOLDFISH))
    assert fish == pytest.approx(2 * shared / lengths)


def test_the_thousand_need_no_nltk(nltk_folder):
    assert not nltk_folder.exists()
    assert wordnet.find_synsets([TENCH]).keys() >= {TENCH, "n00001740"}


def test_others_are_asked_of_nltk(nltk_folder):
    offsets = making_wordnet.write(nltk_folder)
    puppy = f"n{offsets['puppy']:08d}"
    found = wordnet.find_synsets([puppy, TENCH])
    assert found[puppy].lemmas == ("puppy", "young dog")
    assert found[puppy].hypernyms == (f"n{offsets['dog']:08d}",)
    assert f"n{offsets['thing']:08d}" in found
    assert TENCH in found


def test_hypernyms_of_instances_are_none(nltk_folder):
    offsets = making_wordnet.write(nltk_folder)
    assert wordnet.hypernyms(f"n{offsets['Laika']:08d}") == ()


def test_wnids_that_wordnet_has_not_are_all_named(nltk_folder):
    making_wordnet.write(nltk_folder)
    with pytest.raises(UsageError, match=r"2 wnids \(n77777777, not a wnid\)"):
        wordnet.find_synsets([TENCH, "n77777777", "not a wnid"])


@pytest.mark.usefixtures("nltk_folder")
def test_without_nltks_copy_the_remedy_is_told():
    with pytest.raises(UsageError) as caught:
        wordnet.find_synsets([TENCH, "n77777777"])
    assert "1 wnid (n77777777) outside the 1000" in str(caught.value)
    assert "python -m nltk.downloader wordnet" in str(caught.value)


def test_another_version_of_wordnet_is_refused(nltk_folder):
    making_wordnet.write(nltk_folder, version="2.1")
    with pytest.raises(
        UsageError, match=r"NLTK's copy is of WordNet 2\.1; the shipped"
    ):
        wordnet.find_synsets(["n77777777"])


def test_generator_writes_classes_and_ancestors_only(tmp_path):
    offsets = making_wordnet.write(tmp_path, with_all=False)
    wnid = {name: f"n{offset:08d}" for name, offset in offsets.items()}
    table = make_wordnet_table.make_table(tmp_path, [wnid["dog"], wnid["thing"]])
    assert table.decode().splitlines() == [
        "wnid\tlemmas\thypernyms",
        f"{wnid['thing']}\tthing\t",
        f"{wnid['animal']}\tanimal\t{wnid['thing']}",
        f"{wnid['pet']}\tpet\t{wnid['thing']}",
        f"{wnid['dog']}\tdog, domestic dog\t{wnid['animal']} {wnid['pet']}",
    ]


def test_generator_leaves_nltks_settings_as_they_were(tmp_path):
    making_wordnet.write(tmp_path, with_all=False)
    before = list(nltk.data.path)
    make_wordnet_table.make_table(tmp_path, [])
    assert nltk.data.path == before


@pytest.mark.parametrize(
    ("version", "wnids", "message"),
    [
        ("3.1", [], "is WordNet 3.1, whose synset numbers differ"),
        ("3.0", ["n00000001", "n00000002"], "lacks n00000001, n00000002"),
    ],
)
def test_generator_refuses_what_is_no_wordnet_3_0(tmp_path, version, wnids, message):
    making_wordnet.write(tmp_path, version=version, with_all=False)
    with pytest.raises(UsageError, match=message):
        make_wordnet_table.make_table(tmp_path, wnids)


def test_generator_as_a_program(tmp_path, capsys):
    assert make_wordnet_table.main(["--wordnet", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "give --wordnet DIR --output FILE\n"
    assert make_wordnet_table.main(["--wordnt", "x"]) == 2
    assert "--wordnt not recognized; give --wordnet" in capsys.readouterr().err
    flags = ["--wordnet", str(tmp_path), "--output", str(tmp_path / "table.tsv")]
    assert make_wordnet_table.main(flags) == 2
    assert "holds no data.noun, index.noun" in capsys.readouterr().err
    making_wordnet.write(tmp_path, with_all=False)
    assert make_wordnet_table.main(flags) == 2
    assert "lacks n01440764" in capsys.readouterr().err


@pytest.mark.real
def test_shipped_table_holds_what_the_source_says(real_data):
    lines = (real_data / "labels" / "wordnet_closure.tsv").read_text().splitlines()
    expected = {}
    for line in lines[1:]:
        wnid, lemmas, hypernyms, _gloss = line.split("\t")
        parents = tuple(sorted(hypernyms.split(","))) if hypernyms else ()
        expected[wnid] = Synset(tuple(lemmas.split(", ")), parents)
    assert wordnet.load_closure() == expected
