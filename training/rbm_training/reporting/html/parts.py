"""What the page is made of."""

from dataclasses import dataclass

from rbm_training.reporting.figures import Plot


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first `num_names` columns are names, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_names: int = 1
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page; `anchor` is unique, `verbatim` a text to show as it is, folded."""

    anchor: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    verbatim: str = ""
