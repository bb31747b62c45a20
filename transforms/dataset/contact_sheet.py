"""Draw a contact sheet, a JPEG with some images of each group."""

import functools
import io
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from transforms import formats
from transforms.dataset import manifest, paths
from transforms.grouping.table import GroupTable
from transforms.images import resize
from transforms.records import DataError, ImageLocation

_PAPER, _INK, _EMPTY = (255, 255, 255), (38, 38, 38), (241, 241, 241)
_JPEG_QUALITY = 88


class _Layout(NamedTuple):
    """The layout of a sheet with columns of groups: names above rows of thumbnails."""

    max_groups: int
    columns: int
    images_per_group: int
    thumbnail_px: int
    font_px: int
    gap_px: int  # between thumbnails

    @property
    def margin_px(self) -> int:
        """Space around the sheet and between columns, in pixels."""
        return self.thumbnail_px // 3

    @property
    def width_px(self) -> int:
        """Width of a group's row of thumbnails, in pixels."""
        step = self.thumbnail_px + self.gap_px
        return self.images_per_group * step - self.gap_px

    @property
    def name_px(self) -> int:
        """Height of a group's name and the space below it, in pixels."""
        return round(1.5 * self.font_px)

    @property
    def height_px(self) -> int:
        """Height of a group and the space below it, in pixels."""
        return self.name_px + self.thumbnail_px + round(0.9 * self.font_px)


# Sheets have at most about 4000 by 8000 pixels.
_LAYOUTS = (
    _Layout(12, 1, 10, 168, 26, 6),
    _Layout(40, 2, 8, 136, 22, 5),
    _Layout(100, 3, 7, 128, 20, 4),
    _Layout(250, 5, 5, 120, 18, 4),
    _Layout(500, 9, 4, 96, 15, 3),
    _Layout(1000, 14, 3, 78, 12, 3),
)


def _layout(num_groups: int) -> _Layout:
    fitting = (layout for layout in _LAYOUTS if num_groups <= layout.max_groups)
    return next(fitting, _LAYOUTS[-1])


def images_per_group_shown(num_groups: int) -> int:
    """Return how many images of each group a sheet of `num_groups` groups shows."""
    return _layout(num_groups).images_per_group


def contact_sheet(rows: Sequence[tuple[str, Sequence[bytes]]]) -> bytes:
    """Draw each group's name above a row of its images.

    Args:
      rows: (name, JPEG files) of each group, in label order. Images beyond
        `images_per_group_shown` are ignored; grey squares replace missing images.

    Returns:
      The bytes of a JPEG file, which depend only on `rows`.
    """
    layout = _layout(len(rows))
    columns = min(layout.columns, len(rows))
    lines = -(-len(rows) // columns)
    margin = layout.margin_px
    width = margin + columns * (layout.width_px + margin)
    height = margin + lines * layout.height_px + margin // 2
    sheet = Image.new("RGB", (width, height), _PAPER)
    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL
        strips = pool.map(lambda row: list(_thumbnails(row[1], layout)), rows)
        for number, ((name, _), strip) in enumerate(zip(rows, strips, strict=True)):
            column, line = divmod(number, lines)
            left = margin + column * (layout.width_px + margin)
            top = margin + line * layout.height_px
            _draw_name(sheet, name, layout, place=(left, top))
            for thumbnail in strip:
                sheet.paste(thumbnail, (left, top + layout.name_px))
                left += layout.thumbnail_px + layout.gap_px
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def _draw_name(
    sheet: Image.Image, name: str, layout: _Layout, *, place: tuple[int, int]
) -> None:
    """Draw a name at (left, top), truncated to the width of its column."""
    font = _load_font(layout.font_px)
    text = name
    if font.getlength(name) > layout.width_px:
        fitting = bisect_right(
            range(len(name)),
            layout.width_px,
            key=lambda length: math.ceil(font.getlength(name[:length] + "…")),
        )
        text = name[: fitting - 1].rstrip() + "…"
    baseline = (place[0], place[1] + layout.font_px)
    ImageDraw.Draw(sheet).text(baseline, text, _INK, font, anchor="ls")


_load_font = functools.cache(ImageFont.load_default)


def _thumbnails(images: Sequence[bytes], layout: _Layout) -> Iterator[Image.Image]:
    """Yield the thumbnails of a row: centre crops, then grey squares to fill it."""
    size = (layout.thumbnail_px, layout.thumbnail_px)
    shown = images[: layout.images_per_group]
    for data in shown:
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.draft("RGB", size)  # decodes at reduced size, which is faster
                decoded = image.convert("RGB")
        except OSError as error:
            raise DataError("not an image, or a truncated one") from error
        yield resize.resize(decoded, size, resize.middle_square(*decoded.size))
    for _ in range(layout.images_per_group - len(shown)):
        yield Image.new("RGB", size, _EMPTY)


def make_preview(root: str, table: GroupTable) -> bytes:
    """Draw each group's first images in the manifest; return the sheet as a JPEG.

    Args:
      root: folder of the dataset.
      table: the groups.

    Raises:
      DataError: an image is missing or damaged.
    """
    wanted = images_per_group_shown(table.num_groups)
    first: dict[int, list[bytes]] = {label: [] for label in range(table.num_groups)}
    missing = wanted * table.num_groups
    for row in manifest.read_rows(
        f"{root}/{paths.MANIFEST}", columns=["label", "file", "offset", "length"]
    ):
        if len(first[row["label"]]) < wanted:
            place = ImageLocation(row["file"], row["offset"], row["length"])
            first[row["label"]].append(formats.read_image(root, place))
            missing -= 1
        if not missing:
            break
    return contact_sheet([
        (name, first[label]) for label, name in enumerate(table.names)
    ])
