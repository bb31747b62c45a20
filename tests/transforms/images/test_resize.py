import numpy as np
import pytest
from cykooz_resizer import CpuExtensions, CropBox, ResizeOptions, Resizer
from PIL import Image

from transforms.images.resize import CATMULL_ROM, middle_square, resize, turn_upright


def whole(image):
    return CropBox(0, 0, *image.size)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(341, 255), (64, 48), (1000, 748)])
def test_result_is_pillows_bicubic(photograph, mode, size):
    image = photograph.convert(mode)
    ours = np.asarray(resize(image, size, whole(image)), np.int16)
    theirs = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.int16)
    assert np.abs(ours - theirs).mean() < 0.5


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_processors_agree_on_every_pixel(photograph, mode):
    image = photograph.convert(mode)
    results = {}
    for extensions in CpuExtensions:
        resizer = Resizer()
        try:
            resizer.cpu_extensions = extensions
        except ValueError:
            continue
        if resizer.cpu_extensions is extensions:
            result = Image.new(mode, (341, 255))
            resizer.resize_pil(image, result, ResizeOptions(CATMULL_ROM))
            results[extensions] = result.tobytes()
    assert CpuExtensions.none in results
    assert set(results.values()) == {resize(image, (341, 255), whole(image)).tobytes()}


def test_nothing_to_do_gives_the_same_image(photograph):
    assert resize(photograph, photograph.size, whole(photograph)) is photograph


def test_box_at_the_same_scale_is_an_exact_crop(photograph):
    cut = resize(photograph, (100, 80), CropBox(30, 20, 100, 80))
    assert cut.tobytes() == photograph.crop((30, 20, 130, 100)).tobytes()


def test_picture_of_many_memory_blocks_is_whole():
    wide = Image.linear_gradient("L").resize((3000, 3000)).convert("RGB")
    small = resize(wide, (30, 30), whole(wide))
    assert [small.getpixel((15, y))[0] // 85 for y in (1, 15, 28)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("size", "box"),
    [((500, 375), (62, 0, 375, 375)), ((3, 8), (0, 2, 3, 3)), ((5, 5), (0, 0, 5, 5))],
)
def test_middle_square(size, box):
    assert middle_square(*size) == CropBox(*box)


def test_upright_picture_is_not_copied(photograph):
    assert turn_upright(photograph, 1) is photograph
