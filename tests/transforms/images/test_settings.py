import pytest

from transforms.images.settings import (
    ImageSettings,
    describe_libraries,
    is_smaller_than_asked,
    target_size,
)


@pytest.mark.parametrize(
    ("mode", "upscale", "original", "expected"),
    [
        ("shorter_side", False, (500, 375), (341, 256)),
        ("shorter_side", False, (375, 500), (256, 341)),
        ("shorter_side", False, (512, 514), (256, 257)),
        ("shorter_side", False, (512, 513), (256, 257)),
        ("shorter_side", False, (256, 300), (256, 300)),
        ("shorter_side", False, (200, 900), (200, 900)),
        ("shorter_side", True, (200, 900), (256, 1152)),
        ("shorter_side", True, (1, 1), (256, 256)),
        ("longer_side", False, (500, 375), (256, 192)),
        ("longer_side", False, (1024, 2), (256, 1)),
        ("longer_side", False, (6000, 1), (256, 1)),
        ("longer_side", False, (200, 100), (200, 100)),
        ("longer_side", True, (200, 100), (256, 128)),
        ("center_crop", False, (500, 375), (256, 256)),
        ("center_crop", False, (20, 10), (256, 256)),
        ("squash", False, (500, 375), (256, 256)),
        ("squash", True, (20, 10), (256, 256)),
        ("none", False, (500, 375), (500, 375)),
        ("none", True, (20, 10), (20, 10)),
    ],
)
def test_target_size(mode, upscale, original, expected):
    settings = ImageSettings(resize_mode=mode, upscale=upscale)
    assert target_size(*original, settings) == expected


@pytest.mark.parametrize(
    ("mode", "finished", "expected"),
    [
        ("shorter_side", (300, 256), False),
        ("shorter_side", (300, 255), True),
        ("longer_side", (256, 20), False),
        ("longer_side", (255, 255), True),
        ("center_crop", (256, 256), False),
        ("none", (20, 20), False),
    ],
)
def test_smaller_than_asked(mode, finished, expected):
    assert is_smaller_than_asked(*finished, ImageSettings(resize_mode=mode)) is expected


def test_the_recipe_names_all_that_decides_pixels():
    assert ImageSettings().describe() == {
        "image_size": 256,
        "resize_mode": "shorter_side",
        "upscale": False,
        "jpeg_quality": 90,
        "chroma": "4:2:0",
        "filter": "catmull_rom",
    }


def test_library_versions_are_known():
    versions = describe_libraries()
    assert set(versions) == {"pillow", "libjpeg_turbo", "cykooz_resizer"}
    assert all(version[0].isdigit() for version in versions.values())
