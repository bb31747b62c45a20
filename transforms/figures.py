"""Style matplotlib figures, and save them as SVG, PDF and PNG.

An SVG keeps its text as text, and every palette colour becomes a CSS class (`fill-c0`,
`stroke-ink`), so that a page or the file's own style sheet can switch between light and
dark colours. Equal figures give byte-identical SVGs: they contain no dates or random
IDs, and coordinates are rounded to two decimals.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Name → light and dark. c0 to c9 are distinct for colour-blind readers.
PALETTE = {
    "paper": ("#fbfaf8", "#191817"),
    "card": ("#ffffff", "#232120"),
    "ink": ("#23211e", "#eceae6"),
    "soft": ("#6d6962", "#a09b93"),
    "line": ("#e4e0d9", "#3a3734"),
    "bar": ("#3b7dd8", "#6ea8f5"),
    "bar-soft": ("#d5e3f7", "#2b3a50"),
    "good": ("#1f7a4d", "#6fd3a0"),
    "good-soft": ("#e2f3ea", "#1f3a2c"),
    "bad": ("#b3401f", "#f2906f"),
    "bad-soft": ("#fbe9e2", "#43291f"),
    "doubt": ("#8a6200", "#e6be5a"),
    "doubt-soft": ("#fbf1d9", "#3d331b"),
    "c0": ("#2f6fc6", "#7db2f8"),
    "c1": ("#c2540a", "#f0985c"),
    "c2": ("#1f8060", "#5ecba3"),
    "c3": ("#a8377a", "#ea8cc3"),
    "c4": ("#6a4fbf", "#b3a0f5"),
    "c5": ("#8a6d00", "#d9bb4a"),
    "c6": ("#0f7f8c", "#5cc8d5"),
    "c7": ("#b3362b", "#f28b80"),
    "c8": ("#62676f", "#aab0b9"),
    "c9": ("#86552a", "#d3a272"),
}
_NAMES = {light: name for name, (light, _) in PALETTE.items()}
CARD, INK, SOFT, LINE = (PALETTE[name][0] for name in ("card", "ink", "soft", "line"))

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # part of matplotlib
    "font.size": 12,
    "text.color": SOFT,
    "text.parse_math": False,  # names may contain dollar signs
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": SOFT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlesize": 12,
    "figure.dpi": 72,  # a pixel is a point
    "figure.facecolor": "none",
    "grid.color": LINE,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "pdf.fonttype": 42,  # journals refuse type 3
    "svg.fonttype": "none",
    "xtick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "ytick.major.size": 0,
}


@contextlib.contextmanager
def style(**more: object) -> Iterator[None]:
    """Apply the house style within a `with` block, ignoring the user's matplotlibrc.

    Args:
      more: additional rcParams, with `__` instead of `.`: `axes__grid__axis="x"`.
    """
    import matplotlib.style

    changes = {name.replace("__", "."): value for name, value in more.items()}
    with matplotlib.style.context(["default", _STYLE, changes]):
        yield


def make_figure(width: float, height: float, *, label: str) -> "Figure":
    """Create an empty figure.

    Args:
      width: width in points.
      height: height in points.
      label: accessible name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72))
    figure.set_label(label)
    return figure


def lay_out(axes: "Axes", *, is_final: bool = True) -> "Figure":
    """Compute the layout of a figure, so that positions in it can be read.

    Args:
      axes: the figure's axes, with all labels and annotations.
      is_final: whether to freeze the layout, which makes saving fast.

    Returns:
      The figure of the axes.
    """
    figure = cast("Figure", axes.get_figure(root=True))
    figure.draw_without_rendering()
    if is_final:
        figure.set_layout_engine("none")
    return figure


def set_tooltip(artist: "Artist", text: str) -> None:
    """Give a part of a figure a tooltip, which SVG viewers show on hover."""
    artist.set_gid(f"tooltip:{text}")


def to_svg(figure: "Figure") -> str:
    """Render a figure as the text of an SVG file."""
    data, label = io.BytesIO(), str(figure.get_label())
    with style(svg__hashsalt=re.sub(r"\W+", "", label) or "figure"):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(data, format="svg", metadata=nothing)
    root = ElementTree.fromstring(data.getvalue())  # noqa: S314  # our own SVG
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        node.attrib = {k.rpartition("}")[2]: v for k, v in node.attrib.items()}
    ids = {node.get("href", "")[1:] for node in root.iter("use")}
    for node in root.iter():
        _rewrite_node(node, ids)
    title, theme = ElementTree.Element("title"), ElementTree.Element("style")
    title.text = label
    theme.text = _make_theme(ElementTree.tostring(root, encoding="unicode"))
    root[:0] = [title, theme]
    root.attrib |= {"role": "img", "aria-label": label}
    root.attrib |= {"xmlns": "http://www.w3.org/2000/svg"}
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def make_inline(svg: str) -> str:
    """Convert a `to_svg` file to an SVG element for an HTML page.

    Remove the size, title, style sheet and namespace, which the page replaces.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314  # our own SVG
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    root[:2] = []
    root.attrib = {k: root.attrib[k] for k in ("viewBox", "role", "aria-label")}
    return ElementTree.tostring(root, encoding="unicode")


def _rewrite_node(node: ElementTree.Element, ids: set[str]) -> None:
    """Replace a node's palette colours with CSS classes and its ID with a tooltip.

    Also drop metadata and clipping, and round coordinates.

    Args:
      node: the node to change in place; its children keep their own attributes.
      ids: IDs that the SVG refers to; these are kept.
    """
    for child in list(node):
        if child.tag in {"metadata", "style", "clipPath"}:  # axes include all data
            node.remove(child)
    node.attrib.pop("clip-path", None)
    node.text, node.tail = (text and text.strip() for text in (node.text, node.tail))
    if node.get("id") not in ids and (name := node.attrib.pop("id", "")):
        kind, _, words = name.partition(":")
        if kind == "tooltip":
            title = ElementTree.Element("title")
            title.text = words
            node.insert(0, title)
    classes, rest = [], []
    for declaration in filter(None, node.attrib.pop("style", "").split("; ")):
        key, _, value = declaration.partition(": ")
        if key in {"fill", "stroke"} and value in _NAMES:
            node.set(key, value)  # for programs that ignore style sheets
            classes.append(f"{key}-{_NAMES[value]}")
        else:
            rest.append(declaration.replace("'DejaVu Sans'", "system-ui, sans-serif"))
    if rest:
        node.set("style", "; ".join(rest))
    if classes:
        node.set("class", " ".join(classes))
    for name in node.attrib.keys() & {"d", "transform", "x", "y", "width", "height"}:
        # Processors may differ in the last decimals.
        node.set(name, re.sub(r"-?\d+\.\d+", _round_number, node.attrib[name]))


def _round_number(number: re.Match[str]) -> str:
    return f"{round(float(number[0]), 2) + 0.0:.10g}"


def _make_theme(svg: str) -> str:
    """Return the style sheet of an SVG file, with dark colours for dark mode."""
    light, dark = PALETTE["card"]
    rules = "".join(
        f".{kind}-{name}{{{kind}:{color}}}"
        for name, (_, color) in PALETTE.items()
        for kind in ("fill", "stroke")
        if f"{kind}-{name}" in svg
    )
    return (
        f"*{{stroke-linejoin:round}}svg{{background:{light}}}"
        f"@media (prefers-color-scheme: dark){{svg{{background:{dark}}}{rules}}}"
    )


def to_pdf(figure: "Figure") -> bytes:
    """Render a figure as a PDF file, with light colours and embedded fonts."""
    nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    return _save(figure, format="pdf", metadata=nothing)


def to_png(figure: "Figure", *, dpi: float) -> bytes:
    """Render a figure as a PNG file with `dpi` pixels per inch."""
    return _save(figure, format="png", dpi=dpi, metadata={"Software": None})


def _save(figure: "Figure", **settings: Any) -> bytes:
    data = io.BytesIO()
    with style():
        figure.savefig(data, **settings)
    return data.getvalue()
