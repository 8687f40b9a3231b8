"""`rbm-train`: run experiments, look at finished ones.

A command imports what trains after it has read its file: torch and all that comes with it take seconds, which
neither help nor a misspelt key should cost.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from rbm_bundle.errors import BundleError
from rbm_bundle.version import package_version
from rbm_training.benchmark.plan import load_comparison, plan
from rbm_training.config import ConfigError, DatasetConfig, load_config
from rbm_training.data.public.catalogue import GENERATED, list_named
from rbm_training.errors import TrainingError
from rbm_training.reporting.summary import report_table
from rbm_training.runtime.artifacts import STAGES
from rbm_training.runtime.clock import time_of_making
from rbm_training.runtime.run_folder import BUNDLE, REPORT
from rbm_training.tuning.space import load_tuning

INTERRUPTED = 130
DEFAULT_ROOT = DatasetConfig().root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 1 with the reason when not, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            time_of_making()  # libraries that are imported later read the same variable, and fail worse
            options.command(options)
    except (TrainingError, BundleError, OSError) as error:
        print(f"rbm-train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("rbm-train: interrupted; the run is unfinished", file=sys.stderr)
        return INTERRUPTED
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell users in one line what concerns their files, and everything else with its place in the code."""
    is_of_files = issubclass(category, FutureWarning)
    told = message if is_of_files else f"{filename}:{lineno}: {category.__name__}: {message}"
    print(f"rbm-train: {told}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rbm-train", description="Distil a GNN into a graph-free student and export it."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {package_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    running = commands.add_parser("run", help="dataset → teacher → positions → student → bundle and report")
    _add_file(running, "an experiment, TOML")
    _add_out(running, "run folder, new or of a run to go on with")
    running.add_argument(
        "--from",
        dest="start_from",
        choices=list(STAGES),
        metavar="STAGE",
        help=f"make this stage and all after it anew: {', '.join(STAGES)}",
    )
    running.set_defaults(command=_run)

    comparing = commands.add_parser("compare", help="methods × datasets × settings × seeds, resumable")
    _add_file(comparing, "a comparison, TOML")
    _add_out(comparing, "folder of results.jsonl, new or to be continued")
    comparing.set_defaults(command=_compare)

    tuning = commands.add_parser("tune", help="search for a better experiment on validation, resumable")
    _add_file(tuning, "a search, TOML")
    _add_out(tuning, "folder of the study, new or to be continued")
    tuning.set_defaults(command=_tune)

    for stage, made in (("report", "report and page"), ("export", "bundle")):
        told = f"make the {made} of a finished run anew, from its folder alone"
        remaking = commands.add_parser(stage, help=told)
        remaking.add_argument("folder", type=Path)
        remaking.set_defaults(command=_remake, stage="bundle" if stage == "export" else stage)

    starting = commands.add_parser("init", help="write a first experiment for the graph in a folder")
    starting.add_argument("folder", type=Path)
    starting.set_defaults(command=_init)

    checking = commands.add_parser(
        "check", help="what a run would read and need, or why it could not start; without training"
    )
    _add_file(checking, "an experiment, TOML")
    checking.set_defaults(command=_check)

    show = commands.add_parser("show", help="the report of a finished run, as a table")
    show.add_argument("folder", type=Path)
    show.set_defaults(command=_show)

    datasets = commands.add_parser(
        "datasets", help="what an experiment's dataset holds, without training; without FILE, the named sets"
    )
    _add_file(datasets, "an experiment, TOML", nargs="?")
    datasets.add_argument(
        "--root", type=Path, metavar="DIR", help=f"folder of the named sets to list (default: {DEFAULT_ROOT})"
    )
    datasets.set_defaults(command=_datasets)
    return parser


def _add_file(parser: argparse.ArgumentParser, what: str, nargs: str | None = None) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", nargs=nargs, help=what)
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a field, as in --set distill.temperature=2; a value is TOML, else a string",
    )


def _add_out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=what)


def _run(options: argparse.Namespace) -> None:
    config = load_config(options.file, options.overrides)
    from rbm_training.pipeline import run

    run(config, options.out, Console(stderr=True), options.start_from)
    _tell(options.out)


def _remake(options: argparse.Namespace) -> None:
    from rbm_training.pipeline import remake

    remake(options.folder, options.stage, Console(stderr=True))
    _tell(options.folder)


def _tell(folder: Path) -> None:
    console = Console()
    console.print(report_table(folder / REPORT))
    console.print(f"bundle: {folder / BUNDLE}")


def _compare(options: argparse.Namespace) -> None:
    comparison = load_comparison(options.file, options.overrides)
    planned = plan(comparison)
    if left_out := comparison.left_out():
        print(f"left out, for want of experts: {', '.join(left_out)}", file=sys.stderr)
    from rbm_training.benchmark.scheduler import PAGE_FILE, RESULTS_FILE, ComparisonError, compare

    failures = compare(planned, options.out, Console(stderr=True))
    print(f"results: {options.out / RESULTS_FILE}, {options.out / PAGE_FILE}")
    if failures:
        raise ComparisonError(failures)


def _tune(options: argparse.Namespace) -> None:
    config = load_tuning(options.file, options.overrides)
    from rbm_training.tuning.search import tune

    best = tune(config, options.out, Console(stderr=True))
    print(f"best experiment: {best}")


def _show(options: argparse.Namespace) -> None:
    Console().print(report_table(options.folder / REPORT))


def _datasets(options: argparse.Namespace) -> None:
    if options.file is None:
        if options.overrides:
            raise ConfigError("found --set without FILE; wanted the experiment whose fields it overrides")
        _list_named(options.root or DEFAULT_ROOT)
        return
    if options.root is not None:
        raise ConfigError("found --root beside FILE; wanted --set dataset.root=DIR, which FILE reads")
    config = load_config(options.file, options.overrides)
    from rbm_training.data.loading import load_dataset
    from rbm_training.preflight import dataset_table, split_table

    dataset = load_dataset(config.dataset, config.features)
    Console().print(dataset_table(config, dataset), split_table(config, dataset, config.seeds[:1]), sep="\n")


def _init(options: argparse.Namespace) -> None:
    from rbm_training.data.template import write_experiment

    print(f"experiment: {write_experiment(options.folder)}")


def _check(options: argparse.Namespace) -> None:
    config = load_config(options.file, options.overrides)
    from rbm_training.preflight import advice_table, dataset_table, load_checked, needs_table, split_table

    found = load_checked(config)
    console, config, dataset = Console(), found.config, found.dataset
    console.print(dataset_table(config, found.read), split_table(config, dataset, config.seeds), sep="\n")
    console.print(needs_table(config, dataset))
    if found.advice:
        console.print(advice_table(found.advice))


def _list_named(root: Path) -> None:
    table = Table("dataset.name", "read from", title=f"named sets, dataset.root = {root}")
    for name, place in list_named(root).items():
        table.add_row(
            name, "not there: downloaded on first use" if place is None else str(place.relative_to(root))
        )
    table.add_row(GENERATED, "generated")
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
