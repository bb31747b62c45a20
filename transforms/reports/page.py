"""Render pages with Jinja2, and write them with their figures.

A page is one HTML file without scripts and without requests. Its figures are part of
it, and also written beside it as SVG and PDF files.
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

if TYPE_CHECKING:  # matplotlib is slow to import
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """A figure of a page.

    Attributes:
      name: stem of its files.
      title: written above it.
      note: how to read the figure.
    """

    name: str
    title: str
    figure: "Figure"
    note: str = ""

    @functools.cached_property
    def svg(self) -> str:
        """The figure as an SVG file."""
        return figures.to_svg(self.figure)

    @property
    def inline(self) -> Markup:
        """The figure as part of a page."""
        return Markup(figures.make_inline(self.svg))  # noqa: S704  # escaped there

    def write(self, root: str) -> None:
        """Write figures/NAME.svg and figures/NAME.pdf below a folder."""
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
    """Render a template.

    Args:
      template: name of a file in `templates`.
      context: variables of the template.
      charts: figures on the page.
    """
    text = _make_environment().get_template(template).render(context)
    return Page(html=text.encode(), charts=tuple(charts))


def write(root: str, name: str, page: Page) -> None:
    """Write a page, and its figures into the folder `figures` beside it."""
    storage.write(root, name, page.html)
    for chart in page.charts:
        chart.write(root)


def make_stem(*words: str) -> str:
    """Convert any text to the stem of a file name."""
    return re.sub(r"[^\w.-]+", "_", "_".join(words)).strip("._-") or "figure"


def format_fraction(value: float | None, digits: int = 3) -> str:
    """Format a number from −1 to 1."""
    if value is None:
        return "-"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def format_percent(value: float | None, digits: int = 1) -> str:
    """Format a share as a percentage."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _format_number(value: float, spec: str) -> str:
    return f"{value:{spec}}"


def _capitalize(text: str) -> str:
    """Capitalise the first letter and keep the others."""
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
    environment.filters |= {
        "base64": _encode,
        "capitalized": _capitalize,
        "class_name": display_name,
        "fraction": format_fraction,
        "number": _format_number,
        "percent": format_percent,
    }
    return environment
