import pytest

from transforms.grouping import table as groups
from transforms.grouping.methods import manual
from transforms.grouping.table import GroupingRequest, MissingTableError, make_table
from transforms.labels.classes import class_index, display_name
from transforms.records import ImageClass, UsageError

TENCH, GOLDFISH, SHARK, HEN = "n01440764", "n01443537", "n01484850", "n01514859"
OUTSIDE = "n99999999"
CLASSES = tuple(
    ImageClass(wnid, class_index(wnid), display_name(wnid), 10, 1)
    for wnid in (TENCH, GOLDFISH, SHARK, HEN, OUTSIDE)
)


def _group(path, *, num_groups=None, missing="error", classes=CLASSES):
    request = GroupingRequest(
        classes=classes,
        num_groups=num_groups,
        seed=0,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=False,
        groups_file=None if path is None else str(path),
    )
    return manual.group_classes(request, manual.Options(missing=missing))


def _write(tmp_path, text, name="g.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _table(path, **settings):
    result = _group(path, **settings)
    return make_table(CLASSES, result.assignment, result.names)


def _problems(path, **settings):
    with pytest.raises(UsageError) as caught:
        _group(path, **settings)
    return str(caught.value).replace(f"{path}", "FILE").splitlines()


FISH_AND_REST = {TENCH: 0, GOLDFISH: 0, SHARK: 0, HEN: 1, OUTSIDE: 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.csv", "wnid,group\n{t},fish\n{g},fish\n{s},fish\n{h},rest\n{o},rest\n"),
        ("g.CSV", "Group, WNID\nfish,{t}\nFish,{G}\nfish ,{s}\nrest,{h}\nrest,{o}\n"),
        ("g.tsv", "wnid\tgroup\n{t}\tfish\n{g}\tfish\n{s}\tfish\n{h}\trest\n{o}\trest"),
        (
            "g.csv",
            "name,group\ntench,fish\nGoldFish,fish\ngreat_white_shark,fish\nhen,rest\n"
            "{o},rest\n",
        ),
        (
            "g.csv",
            "name,group,,\nTinca tinca,fish,,\n Goldfish,fish\nwhite shark,fish,\n"
            "hen,rest,,\n{o},rest,,\n",
        ),
        (
            "g.csv",
            "sep=,\nclass_index,wnid,group\n0.0,,fish\n1.0,{g},fish\n2.0,,fish\n"
            "8.0,{h},rest\n-1.0,{o},rest",
        ),
        (
            "g.csv",
            "class_index,wnid,group\n0,,fish\n1,,fish\n2,,fish\n8,,rest\n-1,{o},rest",
        ),
        ("g.yaml", "fish:\n- tench\n- 1\n- {s}\nrest: [Hen, {o}]\n"),
        ("g.yml", "# mine\n'fish': ['0', goldfish, great white shark]\nrest: [8, {o}]"),
    ],
    ids=[
        "wnid",
        "case_and_spaces",
        "tsv",
        "name",
        "words",
        "spreadsheet",
        "class_index",
        "yaml",
        "yml",
    ],
)
@pytest.mark.parametrize("encode", ["plain", "windows"])
def test_classes_are_named_in_many_ways(tmp_path, name, text, encode):
    names = {"t": TENCH, "g": GOLDFISH, "G": "N01443537", "s": SHARK, "h": HEN}
    text = text.format(**names, o=OUTSIDE)
    if encode == "windows":
        text = "\ufeff" + text.replace("\n", "\r\n")
    table = _table(_write(tmp_path, text, name), num_groups=2)
    assert table.label_of == FISH_AND_REST
    assert table.names == ("fish", "rest")


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([0, 0, 1, 1, None], None),
        ([4, 3, 2, 1, 0], None),
        ([0, 0, None, 1, 1], {0: "fish, great and small", 1: 'the "rest"'}),
        ([0, 1, 1, 2, 2], dict.fromkeys(range(3), "same")),
    ],
)
def test_an_earlier_groups_csv_gives_the_same_table(tmp_path, ids, names):
    assignment = {c.wnid: i for c, i in zip(CLASSES, ids, strict=True)}
    table = make_table(CLASSES, assignment, names)
    path = _write(tmp_path, groups.to_csv(table))
    assert _table(path) == table
    assert _group(path).notes == ()


def test_group_names_come_from_the_file_the_identifier_or_the_label(tmp_path):
    rows = f"{TENCH},7,fish\n{GOLDFISH},7,\n{SHARK},x,\n{HEN},3,\n{OUTSIDE},3,\n"
    path = _write(tmp_path, "wnid,group,group_name\n" + rows)
    assert _table(path).names == ("fish", "x", "group 2")


def test_renumbered_label_is_reported(tmp_path):
    rows = f"{TENCH},1\n{GOLDFISH},0\n{SHARK},2\n{HEN},7\n{OUTSIDE},\n"
    result = _group(_write(tmp_path, "wnid,group\n" + rows))
    assert result.notes == (
        "groups are numbered by their smallest wnid: 1 → 0, 0 → 1, 7 → 3",
    )
    assert result.assignment[OUTSIDE] is None


def test_classes_missing_from_the_input_are_reported(tmp_path):
    text = f"fish: [tench, goldfish, shark ray, {SHARK}]\nrest: [hen, {OUTSIDE}]\n"
    text = text.replace("shark ray", "electric ray, n88888888")
    result = _group(_write(tmp_path, text, "g.yaml"))
    assert result.notes == ("2 classes of the groups file are not in the input",)
    assert result.assignment.keys() == {c.wnid for c in CLASSES}


@pytest.mark.parametrize(
    ("missing", "expected", "note"),
    [
        (
            "drop",
            {TENCH: 0, HEN: 1},
            "3 classes of the input are not in the groups file and left out",
        ),
        (
            "other",
            {TENCH: 0, GOLDFISH: 1, SHARK: 1, HEN: 2, OUTSIDE: 1},
            "3 classes of "
            "the input are not in the groups file and in the group 'other'",
        ),
    ],
)
def test_classes_missing_from_the_file_follow_the_flag(
    tmp_path, missing, expected, note
):
    path = _write(tmp_path, "a: [tench]\nb: [hen]\n", "g.yaml")
    assert _table(path, missing=missing).label_of == expected
    assert _group(path, missing=missing).notes == (note,)
    assert _problems(path) == [
        "FILE: 3 classes of the input are not in the file: n01443537 (goldfish), "
        "n01484850 (great white shark), n99999999 (n99999999); add them (with an empty "
        "group to leave them out), or give --manual_missing drop or other"
    ]


def test_other_joins_a_group_of_the_same_name_in_the_file(tmp_path):
    path = _write(tmp_path, "Other: [tench]\nb: [hen]\n", "g.yaml")
    assert _table(path, missing="other").names == ("Other", "b")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "wnid,kind\n",
            "FILE:1: the header is 'wnid,kind'; it needs 'group' and one of",
        ),
        ("group\n", "FILE:1: the header is 'group'; it needs"),
        (
            "wnid,wnid,group\n",
            "FILE:1: the header is 'wnid,wnid,group'; a column is repeated",
        ),
        ("", "FILE:1: the header is ''"),
        ("wnid,group\n", "FILE: holds no classes"),
        ("name,group\nhen,a\ntensh,b\n", "FILE:3: unknown label 'tensh'; did you mean"),
        (
            "wnid;group\n",
            "FILE:1: its cells are separated by semicolons, not by commas",
        ),
        ("sep=;\nwnid;group\n", "FILE:1: its cells are separated by semicolons"),
        (
            "name,group\nPembroke,a\nCardigan,a\n",
            "FILE:3: label 'Cardigan' is ambiguous; give one of n02113186 (Cardigan "
            "Welsh Corgi) or n02963159 (cardigan)",
        ),
        ("name,group\ncrane,b\n", "FILE:2: label 'crane' is ambiguous; give one of"),
        ("wnid,group\nn0144,b\n", "FILE:2: 'n0144' is not a wnid, n and 8 digits"),
        ("class_index,group\n1000,b\n", "FILE:2: class index '1000' is not 0 to 999"),
        ("wnid,group\n,b\n", "FILE:2: names no class; give its wnid, index or label"),
        (
            f"wnid,group\n{HEN},a\n\n{HEN},b\n",
            "FILE:4: n01514859 (hen) is already in line 2; keep one",
        ),
        (f"wnid,group\n{HEN},a,b\n", "FILE:2: has 3 fields where the header has 2"),
        (f'wnid,group\n{HEN},"a\n', "FILE:2: unexpected end of data; check the quotes"),
        (f"wnid,group\n{HEN},-1\n", "FILE:2: group -1: leave the group empty"),
        (
            f"wnid,group,group_name\n{HEN},,dogs\n",
            "FILE:2: 'dogs' has no group; fill in both or neither",
        ),
        (
            f"wnid,group,group_name\n{HEN},1,dogs\n{TENCH},1,cats\n",
            "FILE:3: group '1' is named 'cats' here and 'dogs' above; give it one name",
        ),
        (
            f"wnid,class_index,group\n{HEN},9,a\n",
            "FILE:2: wnid n01514859 is n01514859 (hen), but class_index is 9; correct",
        ),
        (
            f"wnid,name,group\n{HEN},tench,a\n",
            "FILE:2: wnid n01514859 is n01514859 (hen), but name is tench; correct one",
        ),
        (
            "class_index,name,group\n8,tench,a\n",
            "FILE:2: class_index 8 is n01514859 (hen), but name is tench; correct one",
        ),
        (
            f"wnid,group\n{HEN},a\nn01491361,b\n",
            "FILE:3: group 'b': none of its classes is in the input; remove it",
        ),
        (f"wnid,group\n{HEN},a\n", "FILE: defines 1 groups, but --num_groups is 3"),
        (f"wnid,group\n{HEN},a\n", "FILE: 4 classes of the input are not in the file"),
    ],
)
def test_problems_of_csv_name_line_and_remedy(tmp_path, text, problem):
    problems = _problems(_write(tmp_path, text), num_groups=3)
    assert any(line.startswith(problem) for line in problems), problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "FILE:1: is not a mapping; write lines like"),
        ("- tench\n", "FILE:1: is not a mapping"),
        ("a: [tench\n", "FILE:2: is not YAML: expected ',' or ']'"),
        ("a: [\x00]\n", "FILE:1: is not YAML: unacceptable character"),
        ("[" * 5000, "FILE:1: is nested too deeply"),
        ("a: [hen]\nb:\n", "FILE:2: group 'b' is not a list of classes; write '- '"),
        ("a: [hen]\nb: tench\n", "FILE:2: group 'b' is not a list of classes"),
        ("a: [hen]\nb: []\n", "FILE:2: group 'b' has no classes; add some or remove"),
        ("a: [hen]\na: [tench]\n", "FILE:2: group 'a' is already defined in line 1"),
        ("a: &x [hen]\nb: *x\n", "FILE:2: group 'b' is an alias of another; write"),
        ("a: [hen]\n[b]: [tench]\n", "FILE:2: a group name must be a string"),
        ("a: [hen]\n'': [tench]\n", "FILE:2: a group name must be a string"),
        ("a:\n- hen\n- [tench]\n", "FILE:3: is not a class; give a wnid, an index or"),
        ("a:\n- hen\n-\n", "FILE:3: is not a class"),
        (
            "a:\n- hen\n- tensh\n",
            "FILE:3: unknown label 'tensh'; did you mean n01440764",
        ),
        ("a:\n- hen\n- crane\n", "FILE:3: label 'crane' is ambiguous"),
        ("a:\n- hen\n- 1000\n", "FILE:3: class index '1000' is not 0 to 999"),
        ("a: [hen]\nb: [hen]\n", "FILE:2: n01514859 (hen) is already in line 1"),
        ("a: !!python/object/apply:os.abort []\n", "FILE:1: group 'a' has no classes"),
    ],
)
def test_problems_of_yaml_name_line_and_remedy(tmp_path, text, problem):
    problems = _problems(_write(tmp_path, text, "g.yaml"))
    assert any(line.startswith(problem) for line in problems), problems


def test_all_problems_are_found_at_once_and_twenty_shown(tmp_path):
    rows = "".join(f"nothing {number},a\n" for number in range(30))
    problems = _problems(_write(tmp_path, f"name,group\n{rows}hen,-1\n"), num_groups=9)
    assert len(problems) == 21
    assert problems[0].startswith("FILE:2: unknown label 'nothing 0'")
    assert problems[-1] == "FILE: and 13 more problems"


@pytest.mark.parametrize("num_groups", [None, 3])
def test_a_template_without_groups_names_the_column_to_fill(tmp_path, num_groups):
    path = _write(tmp_path, f"wnid,group\n{HEN},\n")
    assert _problems(path, num_groups=num_groups, missing="drop") == [
        "FILE: defines no groups; give each class to keep a group, in a CSV file in "
        "the column group"
    ]


def test_one_group_is_too_few(tmp_path):
    path = _write(tmp_path, "a: [hen]\n", "g.yaml")
    assert _problems(path, missing="drop") == [
        "FILE: defines 1 groups; a subset needs at least 2"
    ]


def test_unreadable_files_are_errors(tmp_path):
    with pytest.raises(MissingTableError, match="--grouping=manual needs --groups"):
        _group(None)
    with pytest.raises(UsageError, match=r"must end in \.csv"):
        _group(_write(tmp_path, "", "g.txt"))
    with pytest.raises(UsageError, match=r"g\.csv: no such file"):
        _group(tmp_path / "g.csv")
    with pytest.raises(UsageError, match="save it as UTF-8"):
        _group(_write(tmp_path, "wnid".encode("utf-16")))
    with pytest.raises(UsageError, match="larger than 10 MB"):
        _group(_write(tmp_path, b"#" * 10_000_001, "g.yaml"))
