"""From report data to one HTML file that needs nothing else: no script, no font, no request."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rbm_bundle.folders import replace_file
from rbm_training.reporting.figures import Plot, to_svg
from rbm_training.reporting.html import accuracy_sections, training_sections
from rbm_training.reporting.html.parts import Section
from rbm_training.reporting.report_data import ReportData

PAGE_FILE = "report.html"
HERE = Path(__file__).parent


def sections_of(data: ReportData) -> list[Section]:
    """All sections that have data, in the order of reading."""
    sections = [
        accuracy_sections.summary(data),
        accuracy_sections.classes(data),
        accuracy_sections.confusion(data),
        accuracy_sections.calibration(data),
        training_sections.training(data),
        training_sections.stability(data),
        *training_sections.specialisation(data),
        accuracy_sections.unseen(data),
        training_sections.cost(data),
        training_sections.graph(data),
        training_sections.provenance(data),
    ]
    return [section for section in sections if section is not None]


def render_page(data: ReportData) -> str:
    """The whole page; the same data give the same text."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"svg": _svg, "unbroken": _unbroken}
    return environment.get_template("page.html").render(
        facts=data.facts,
        sections=sections_of(data),
        style=Markup((HERE / "page.css").read_text("utf-8")),
    )


def _svg(plot: Plot) -> Markup:
    return Markup(to_svg(plot))


def _unbroken(text: str) -> str:
    """Keep a percent sign on the line of its number."""
    return text.replace(" %", "\u00a0%")


def write_page(path: Path, data: ReportData) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, render_page(data).encode())
