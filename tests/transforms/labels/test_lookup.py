import pytest

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
        ("name", "partridge", "n01807496"),  # a label, and the lemma of another class
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
        ("name", "Tinca tinca", "unknown label .* did you mean n01440764 (tench)?"),
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
