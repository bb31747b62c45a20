"""Render pages with Jinja2, and write them with their figures.

A page is a single HTML file without scripts or external requests. Its figures are
embedded, and also written as SVG and PDF files to the folder `figures` beside it.
"""

import base64
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from transforms import figures, storage
from transforms.labels.classes import display_name
from transforms.records import format_fraction, format_percent

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure


_LEAST_P_VALUE = 0.001


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """A figure of a page, with its title.

    Attributes:
      name: stem of the figure's file names.
      title: title above the figure.
      figure: the matplotlib figure.
      note: a sentence on how to read the figure.
    """

    name: str
    title: str
    figure: "Figure"
    note: str = ""

    @functools.cached_property
    def svg(self) -> str:
        """The figure as the text of an SVG file."""
        return figures.to_svg(self.figure)

    @property
    def inline(self) -> Markup:
        """The figure as an SVG element to embed in a page."""
        return Markup(figures.make_inline(self.svg))  # noqa: S704  # escaped there

    def write(self, root: str) -> None:
        """Write figures/NAME.svg and figures/NAME.pdf below the folder `root`."""
        storage.write(root, f"figures/{self.name}.svg", self.svg.encode())
        storage.write(root, f"figures/{self.name}.pdf", figures.to_pdf(self.figure))


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """A rendered page with its figures."""

    html: bytes
    charts: tuple[Chart, ...] = ()


def render(
    template: str, context: Mapping[str, Any], charts: Iterable[Chart] = ()
) -> Page:
    """Render a page from a Jinja2 template.

    Args:
      template: name of a file in `templates`.
      context: variables of the template.
      charts: figures on the page, which are written beside it.
    """
    text = _make_environment().get_template(template).render(context)
    return Page(html=text.encode(), charts=tuple(charts))


def write(root: str, name: str, page: Page) -> None:
    """Write a page to the folder `root`, and its figures to `root`/figures.

    Args:
      root: local or remote folder.
      name: file name of the page.
      page: the rendered page.
    """
    storage.write(root, name, page.html)
    for chart in page.charts:
        chart.write(root)


def make_stem(*words: str) -> str:
    """Join words with underscores into the stem of a file name.

    Runs of characters other than letters, digits, "_", "." and "-" become "_".
    """
    return re.sub(r"[^\w.-]+", "_", "_".join(words)).strip("._-") or "figure"


def _break_name(name: str) -> Markup:
    """Allow line breaks after the underscores of a name."""
    return Markup("_<wbr>").join(name.split("_"))


def _format_p_value(p_value: float) -> str:
    return "< 0.001" if p_value < _LEAST_P_VALUE else format_fraction(p_value)


def _format_number(value: float, spec: str) -> str:
    return f"{value:{spec}}"


def _capitalise(text: str) -> str:
    """Capitalise the first letter and leave the others unchanged."""
    return text[:1].upper() + text[1:]


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


@functools.cache
def _make_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["palette"] = figures.PALETTE
    environment.tests["prefix_of"] = lambda term, label: label.startswith(term)
    environment.filters |= {
        "base64": _encode,
        "breakable": _break_name,
        "capitalised": _capitalise,
        "class_name": display_name,
        "fraction": format_fraction,
        "number": _format_number,
        "p_value": _format_p_value,
        "percent": format_percent,
    }
    return environment
