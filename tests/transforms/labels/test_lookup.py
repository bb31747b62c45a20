import pytest

from transforms.labels.classes import load_classes
from transforms.labels.lookup import ClassLookup, Identifier
from transforms.records import ImageClass

OUTSIDE = ImageClass("n00000001", -1, "thing", 1, 1)


@pytest.mark.parametrize(
    ("kind", "text", "wnid"),
    [
        ("wnid", "N01440764", "n01440764"),
        ("any", "n12345678", "n12345678"),
        ("any", "207", "n02099601"),
        ("class_index", "0", "n01440764"),
        ("name", "great_white  Shark", "n01484850"),
        ("any", "tench", "n01440764"),
        ("name", "n01440764", "n01440764"),
        ("name", "Thing", "n00000001"),
        ("name", "Tinca_tinca", "n01440764"),  # a word of one class only
        ("name", "German shepherd", "n02106662"),
        ("class_index", "207.0", "n02099601"),  # as spreadsheets write it
        ("any", "0207.", "n02099601"),
        ("class_index", "207.5", None),
        ("class_index", "-1.0", None),
        ("class_index", "-1", None),
        ("any", "1000", None),
        ("name", "crane", None),
        ("wnid", "tench", None),
    ],
)
def test_find(kind, text, wnid):
    assert ClassLookup([OUTSIDE]).find(Identifier(kind, text)) == wnid


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("any", "1000", "class index '1000' is not 0 to 999; give the wnid"),
        (
            "name",
            "crane",
            "'crane' is ambiguous; give one of n02012849 (crane (bird)) or",
        ),
        ("name", "Tinca tinka", "unknown label .* did you mean n01440764 (tench)?"),
        ("wnid", "Cardigan", "not a wnid, n and 8 digits; did you mean n02113186 (C"),
        ("name", "tensh", "unknown label 'tensh'; did you mean n01440764 (tench)?"),
        ("name", "qqqqqq", "unknown label 'qqqqqq'; give its wnid"),
        (
            "wnid",
            "tench",
            "not a wnid, n and 8 digits; did you mean n01440764 (tench)?",
        ),
        ("wnid", "n0144O764", "did you mean n01440764 (tench)?"),
        ("wnid", "!", "'!' is not a wnid, n and 8 digits; give the wnid"),
    ],
)
def test_explain(kind, text, said):
    explained = ClassLookup([]).explain(Identifier(kind, text))
    for part in said.split(" .* "):
        assert part in explained


@pytest.mark.parametrize(
    "label",
    ["Cardigan", "crayfish", "gong", "harp", "missile", "partridge", "tub"],
)
def test_names_that_are_words_of_other_classes_name_none(label):
    """Keras calls the corgi `Cardigan`; one class is named `cardigan` here."""
    lookup = ClassLookup([])
    for identifier in (Identifier("name", label), Identifier("any", label.upper())):
        assert lookup.find(identifier) is None
        assert f"label {identifier.text!r} is ambiguous" in lookup.explain(identifier)
    owner = {i.name.lower(): i for i in load_classes()}[label.lower()]
    assert owner.wnid in lookup.explain(Identifier("name", label))


def test_every_word_of_wordnet_names_its_class_or_is_ambiguous():
    lookup = ClassLookup([])
    for info in load_classes():
        for word in (info.name, *info.lemmas):
            identifier = Identifier("name", word)
            assert lookup.find(identifier) in {info.wnid, None}
            assert not lookup.contradicts(word, info.wnid)
            if lookup.find(identifier) is None:
                assert info.wnid in lookup.explain(identifier)


def test_a_class_of_the_input_takes_its_name_from_no_other():
    lookup = ClassLookup([OUTSIDE._replace(name="tench")])
    assert lookup.find(Identifier("name", "tench")) is None
    assert lookup.contradicts("goldfish", "n01440764")
    assert not lookup.contradicts("my fish", "n01440764")
