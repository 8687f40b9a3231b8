"""Where graphs come from: one function, four kinds of source."""

from dataclasses import replace

from rbm_training.config import DatasetConfig, FeaturesConfig
from rbm_training.config.features import AS_GUESSED
from rbm_training.data.builtin.digits import load_digits_graph
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.public.registry import load_named
from rbm_training.data.rare_classes import merge_rare_classes
from rbm_training.data.readers.files import load_files
from rbm_training.data.readers.split_column import SplitColumn

SYNTHETIC_SEED = 0


def load_dataset(config: DatasetConfig, features: FeaturesConfig = AS_GUESSED) -> Dataset:
    """Read or make the graph an experiment asks for, its features in the form that suits them.

    Raises:
        GraphError: no such file, or a malformed graph; says what was found and what was wanted.
    """
    dataset = _load(config, features)
    if features != AS_GUESSED and dataset.columns is None:
        raise GraphError(
            dataset.graph.name,
            "[features], but no columns that it could speak of",
            "a folder whose nodes.parquet has columns of any kind",
        )
    if dataset.ranks is not None and dataset.published is not None and config.split == "published":
        raise GraphError(
            dataset.graph.name,
            f"a split that comes with the graph beside column {config.split_column}, which divides it too",
            "dataset.split = 'random', which leaves the former, or no column",
        )
    if config.split == "random" and dataset.published is not None:
        dataset = dataset.largest_component() if config.kind == "named" else replace(dataset, published=None)
    if config.min_class_labels is not None:
        graph, merged = merge_rare_classes(dataset.graph, config.min_class_labels)
        dataset = replace(dataset, graph=graph, merged=merged)
    return replace(dataset, graph=dataset.graph.in_best_form())


def _split_column(config: DatasetConfig) -> SplitColumn | None:
    if config.split_column is None:
        return None
    return SplitColumn(config.split_column, is_time=config.time_column is not None)


def _load(config: DatasetConfig, features: FeaturesConfig) -> Dataset:
    if config.kind == "digits":
        return Dataset(load_digits_graph())
    if config.kind == "synthetic":
        return Dataset(generate_graph(SYNTHETIC_SEED))
    if config.kind == "files":
        assert config.path is not None
        return load_files(config.path, features, _split_column(config))
    assert config.name is not None
    return load_named(config.name, config.root)
