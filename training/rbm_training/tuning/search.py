"""The search: a study on disk that goes on where it stopped, and the experiment it found.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) proposes, validation decides; no trial looks
at a test label. What is proposed depends on the finished trials and the sampler's seed alone, so a search
that was killed and taken up again ends where an uninterrupted one does.
"""

import logging
import tomllib
from pathlib import Path
from typing import Any, Final

import optuna
import tomli_w
from optuna.trial import Trial, TrialState
from rich.console import Console

from rbm_bundle.folders import replace_file
from rbm_training.config import ConfigError, ExperimentConfig
from rbm_training.config.base import merged
from rbm_training.config.loading import validated
from rbm_training.config.paths import with_bare_paths
from rbm_training.data.dataset import Dataset
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.preconditions import check, with_scaling
from rbm_training.distillation.student_artifact import trained_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.errors import TrainingError
from rbm_training.evaluation.metrics import mean_and_deviation
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.log import RunLog
from rbm_training.tuning.space import TuningConfig

STUDY_FILE: Final = "study.db"
BEST_FILE: Final = "best.toml"
CACHE_FOLDER: Final = "cache"
SEARCH_FILE: Final = "search.toml"
REFUSED: Final = "refused"  # why a trial cannot be run
FINISHED: Final = (TrialState.COMPLETE, TrialState.PRUNED)


class TuningError(TrainingError):
    """A search that cannot go on."""


def tune(config: TuningConfig, folder: Path, console: Console | None = None) -> Path:
    """Run the trials that are missing from the study in the folder; then write the best experiment there.

    Raises:
        ConfigError: the experiment, or every one that a trial proposes, cannot be run as written.
        TuningError: the folder holds another search.
    """
    logging.getLogger("optuna").setLevel(logging.WARNING)
    document = config.document()
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_search(config, document, folder)
    search = _Search(config, document, folder, console or Console(stderr=True, quiet=True))
    best = search.run()
    replace_file(folder / BEST_FILE, tomli_w.dumps(best).encode())
    return folder / BEST_FILE


def _check_same_search(config: TuningConfig, document: dict[str, Any], folder: Path) -> None:
    """A study goes on only with what it was begun with; more trials are the same search."""
    told = config.model_copy(update={"num_trials": 1, "experiment": Path(config.experiment.name)})
    search = {"search": told.model_dump(mode="json", exclude_none=True), "experiment": document}
    text = _wherever(tomli_w.dumps(search))
    path = folder / SEARCH_FILE
    if path.exists() and _wherever(path.read_text()) != text:
        raise TuningError(
            f"{folder}: found another search in {SEARCH_FILE}; wanted a new folder for this one"
        )
    replace_file(path, text.encode())


def _wherever(text: str) -> str:
    """A search as TOML, without the places of its data."""
    try:
        return tomli_w.dumps(with_bare_paths(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:  # nobody's search
        return text


class _Search:
    def __init__(
        self, config: TuningConfig, document: dict[str, Any], folder: Path, console: Console
    ) -> None:
        self._config = config
        self._document = document
        self._console = console
        self._cache = ArtifactStore(folder / CACHE_FOLDER)
        self._study = optuna.create_study(
            storage=f"sqlite:///{folder / STUDY_FILE}",
            study_name="search",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
            load_if_exists=True,
        )
        self._dataset: Dataset | None = None

    def run(self) -> dict[str, Any]:
        """All trials that are missing; the best experiment."""
        for cut_off in self._study.get_trials(states=[TrialState.RUNNING]):
            self._study.tell(cut_off.number, state=TrialState.FAIL)
        while (num_finished := len(self._study.get_trials(states=FINISHED))) < self._config.num_trials:
            self._study.sampler = optuna.samplers.TPESampler(seed=self._config.sampler_seed + num_finished)
            trial = self._study.ask()
            state, value = self._try(trial)
            self._study.tell(trial, value, state)
            self._say(num_finished + 1, trial, state, value)
        if not self._study.get_trials(states=[TrialState.COMPLETE]):
            raise ConfigError(self._study.trials[-1].user_attrs[REFUSED])
        return self._proposed(self._study.best_trial.user_attrs["proposal"])

    def _try(self, trial: Trial) -> tuple[TrialState, float | None]:
        """A trial's mean validation accuracy over the seeds, or that it was given up: fields that are good
        each by itself may be none together."""
        proposal = self._propose(trial)
        try:
            experiment = validated(ExperimentConfig, self._proposed(proposal), self._config.experiment)
        except ConfigError as error:
            trial.set_user_attr(REFUSED, str(error))
            return TrialState.PRUNED, None
        values: list[float] = []
        for seed in self._config.seeds:
            values.append(self._validation(experiment, seed))
            trial.report(mean_and_deviation(values)[0], step=len(values))
            if len(values) < len(self._config.seeds) and trial.should_prune():
                return TrialState.PRUNED, None
        return TrialState.COMPLETE, mean_and_deviation(values)[0]

    def _propose(self, trial: Trial) -> dict[str, Any]:
        num_layers = validated(ExperimentConfig, self._document, self._config.experiment).student.num_layers
        proposal: dict[str, Any] = {}
        for key, dimension in self._config.space.items():
            if dimension.per_layer:
                layers = [f"{key} of layer {layer}" for layer in range(num_layers)]
                proposal[key] = [dimension.suggest(trial, name) for name in layers]
            else:
                proposal[key] = dimension.suggest(trial, key)
        trial.set_user_attr("proposal", proposal)
        return proposal

    def _proposed(self, proposal: dict[str, Any]) -> dict[str, Any]:
        return merged(self._document, *(_nested(key, value) for key, value in proposal.items()))

    def _validation(self, experiment: ExperimentConfig, seed: int) -> float:
        if self._dataset is None:
            self._dataset = load_dataset(experiment.dataset, experiment.features)
            check(experiment, self._dataset)
        experiment, dataset = with_scaling(experiment, self._dataset)
        log = RunLog(None)
        data = prepare_training_data(experiment, dataset, seed, log, self._cache)
        trained = trained_student(experiment, dataset, data, seed, log, self._cache)
        return trained.validation.val_accuracy

    def _say(self, number: int, trial: Trial, state: TrialState, value: float | None) -> None:
        refused = trial.user_attrs.get(REFUSED)
        given_up = "given up" if refused is None else f"given up, {refused}"
        outcome = given_up if state == TrialState.PRUNED else f"validation {value:.4f}"
        best = self._study.best_value if self._study.get_trials(states=[TrialState.COMPLETE]) else None
        told = ", ".join(f"{name} = {tried}" for name, tried in trial.params.items())
        of_all = f"trial {number} of {self._config.num_trials}"
        self._console.print(
            f"{of_all}: {outcome} (best {best or 0:.4f}): {told}", highlight=False, soft_wrap=True
        )


def _nested(key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever TOML can say
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested
