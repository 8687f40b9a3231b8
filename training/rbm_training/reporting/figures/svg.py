"""A figure as SVG: inside an HTML page, whose font and colours it takes, or as a file; it fetches nothing."""

import re
import warnings
from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path

from matplotlib.figure import Figure

from rbm_training.reporting.figures.style import INK, PAPER, styled

RASTER_DPI = 200
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure, what it shows for those who cannot see it, and how to read it.

    `name` is unique on a page and holds only letters, digits and hyphens.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


@styled
def to_svg(plot: Plot) -> str:
    """The plot as an `<svg>` element; the same plot gives the same text."""
    buffer = StringIO()
    with warnings.catch_warnings():
        # The browser draws the text, and has glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        plot.figure.savefig(buffer, format="svg", transparent=True, dpi=RASTER_DPI, metadata=NO_METADATA)
    drawing = buffer.getvalue()
    body = drawing[drawing.index("</defs>") + len("</defs>") : drawing.rindex("</svg>")]  # without its styles
    body = re.sub("<[^>]*>", lambda tag: _adapt(tag[0], plot.name), body)
    width, height = plot.figure.get_size_inches() * 72
    alt = escape(plot.alt)
    tag = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{alt}">'
    return f"{tag}<title>{alt}</title>{body}</svg>"


@styled
def write_svg(figure: Figure, path: Path) -> None:
    """The figure as a file of its own, on white; the same figure gives the same bytes."""
    figure.savefig(path, format="svg", facecolor="white", metadata=NO_METADATA)


def _adapt(tag: str, name: str) -> str:
    """Ids of which a page has one, and the page's own colours; left alone is text that looks like either."""
    tag = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    return tag.replace(INK, "currentColor").replace(PAPER, "var(--paper)")
