import io

import pytest
from PIL import Image

from transforms.dataset import contact_sheet


def draw(color, size=(60, 40), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "JPEG")
    return file.getvalue()


def open_sheet(rows):
    return Image.open(io.BytesIO(contact_sheet.contact_sheet(rows))).convert("RGB")


@pytest.mark.parametrize("num_groups", [1, 2, 12, 13, 41, 200, 500, 501, 1000])
def test_sheet_is_bounded(num_groups):
    sheet = open_sheet([(f"group {n}", [draw("red")]) for n in range(num_groups)])
    assert sheet.width <= 4000
    assert sheet.height <= 8000


def test_more_groups_show_fewer_images_each():
    shown = [
        contact_sheet.images_per_group_shown(n) for n in (2, 20, 60, 200, 400, 1000)
    ]
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] >= 3


def test_same_rows_give_the_same_bytes():
    rows = [("crane, bird", [draw("red"), draw("blue")]), ("Möwe …", [draw("green")])]
    assert contact_sheet.contact_sheet(rows) == contact_sheet.contact_sheet(rows)


def test_rows_are_groups_and_columns_are_images():
    sheet = open_sheet([
        ("first", [draw((200, 0, 0)), draw((0, 200, 0))]),
        ("second", [draw((0, 0, 200))]),
    ])
    top, bottom = sheet.height // 4 + 20, 3 * sheet.height // 4
    assert sheet.getpixel((100, top))[0] > 150
    assert sheet.getpixel((300, top))[1] > 150
    assert sheet.getpixel((100, bottom))[2] > 150


def test_images_beyond_the_sheet_are_left_out():
    one = contact_sheet.contact_sheet([("group", [draw("red")] * 10)])
    assert contact_sheet.contact_sheet([("group", [draw("red")] * 99)]) == one


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_color_spaces_are_shown(mode):
    color = 0 if mode == "L" else (0, 0, 0, 255)
    open_sheet([("group", [draw(color, mode=mode)])])


def test_long_name_stays_in_its_column():
    sheet = open_sheet([("x" * 3000, [])] * 20)
    middle = sheet.width // 2
    gap = sheet.crop((middle - 10, 0, middle + 10, sheet.height))
    assert min(low for low, _ in gap.getextrema()) > 250
