"""How raw columns of nodes become features."""

from typing import Final, Literal

from pydantic import Field

from rbm_training.config.base import Count, FrozenConfig


class FeaturesConfig(FrozenConfig):
    """What the columns of a table of nodes are. Where all are numbers without gaps and nothing is said here,
    they are features as they are. Else numbers are standardised and their gaps filled, categories one-hot,
    texts the TF-IDF of their words, tags one column each, and the service takes raw records."""

    columns: dict[str, Literal["number", "category", "text", "tags", "time", "drop"]] = Field(default={})
    """Kinds of columns by name, in place of those guessed from types and values, as in `columns = {year =
    "category", note = "drop"}`: `number`; `category`, one of a few strings; `text`, of several words; `tags`,
    lists of strings; `time`, whose year, month, day, weekday and hour count; `drop`, not read."""
    max_terms: Count = 4096
    """Most words of a text, tags or categories of a column that count, the most frequent ones."""
    min_count: Count = 2
    """Nodes in which a word, tag or category has to occur to count; rarer categories count as one."""


AS_GUESSED: Final = FeaturesConfig()
"""Nothing is said of any column."""
