from transforms.labels import classes


def test_there_are_a_thousand_classes_in_wnid_order_with_unique_names():
    table = classes.load_classes()
    assert [info.class_index for info in table] == list(range(1000))
    assert [info.wnid for info in table] == sorted(info.wnid for info in table)
    assert all(classes.is_wnid(info.wnid) for info in table)
    assert len({info.name.casefold() for info in table}) == 1000


def test_names_and_indices_of_known_classes():
    assert classes.class_index("n01440764") == 0
    assert classes.class_index("n15075141") == 999
    assert classes.display_name("n02012849") == "crane (bird)"
    assert classes.display_name("n03126707") == "crane (machine)"
    assert classes.load_classes()[0].lemmas == ("tench", "Tinca tinca")


def test_a_class_outside_the_thousand_has_index_minus_one_and_its_wnid_as_name():
    assert classes.class_index("n00000001") == -1
    assert classes.display_name("n00000001") == "n00000001"


def test_wnid_is_n_and_eight_ascii_digits():
    assert classes.is_wnid("n01440764")
    for text in (
        "",
        "n0144076",
        "n014407640",
        "N01440764",
        "n01440764\n",
        "n0144076\u0664",
    ):
        assert not classes.is_wnid(text)
