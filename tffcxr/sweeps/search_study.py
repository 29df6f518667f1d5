"""The memory and the judgement of a search: which settings are tried next, and which are given up.

Akiba, Sano, Yanase, Ohta, Koyama: "Optuna: A Next-generation Hyperparameter Optimization
Framework" (KDD 2019, arXiv 1907.10902). Settings are drawn by the tree-structured Parzen estimator
of Bergstra, Bardenet, Bengio, Kégl: "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011).
A trial is pruned by the median stopping rule of Golovin et al.: "Google Vizier: A Service for
Black-Box Optimization" (KDD 2017), section 3.2.2: if its best value so far is worse than the median
of the complete trials' values in the same round.

What a trial tries is a function of the seed, its number and the trials before it, and whether it is
pruned one of its values and the trials before it. So a search that was killed at any moment
continues as if it had not been. The trials are in Optuna's journal, `search.journal` in the
sweep's folder: a line when a trial begins, after each of its rounds, and when it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import itertools
import math
import pathlib
from typing import Any
import warnings

import optuna
from optuna import distributions, exceptions, importance, pruners, samplers
from optuna.storages import journal
from optuna.trial import FrozenTrial, TrialState, create_trial

from tffcxr import errors, options
from tffcxr.clients import seeds
from tffcxr.evaluation import registry
from tffcxr.sweeps import search_space, sweep_plan
from tffcxr.sweeps.search_trial import COMPLETE, FAILED, PENDING, PRUNED, Trial

FILE = "search.journal"
_TPE, _, _GRID = options.SEARCH_SAMPLERS
# Trials that are drawn at random before the estimator knows enough, per axis and in all.
_RANDOM_PER_AXIS, _FEWEST_RANDOM = 2, 4
# Complete trials before any is pruned, and the part of a run's rounds in which none is.
COMPLETE_BEFORE_PRUNING = 3
_ROUNDS_NOT_PRUNED = 0.25
# Complete trials that importances need, per axis and in all.
_COMPLETE_PER_AXIS, _FEWEST_COMPLETE = 4, 8
# A sampler that proposes known settings so many times is left for draws at random.
_ATTEMPTS = 20
_ERROR = "error"
_STATUS = {
    TrialState.COMPLETE: COMPLETE,
    TrialState.PRUNED: PRUNED,
    TrialState.FAIL: FAILED,
    TrialState.RUNNING: PENDING,
}


class SearchStudy:
    """The trials of a search, one at a time.

    Args:
      path: the sweep's folder, which no other program uses.
      axes: the space.
      metric: a name or column of `registry`, which says what is better.
      sampler: one of `options.SEARCH_SAMPLERS`.
      seed: of the draws.

    Raises:
      errors.InputError: the folder holds a search by another metric, or its journal is damaged.
    """

    def __init__(
        self,
        path: pathlib.Path,
        axes: Sequence[search_space.Axis],
        metric: str,
        sampler: str,
        seed: int,
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=exceptions.ExperimentalWarning)
        self.path = path
        self.metric = metric
        self._axes = list(axes)
        self._sampler = sampler
        self._seed = seed
        self._distributions = {axis.name: _distribution(axis) for axis in axes}
        backend = journal.JournalFileBackend(str(_repaired(path / FILE)))
        try:
            storage = journal.JournalStorage(backend)
        except (ValueError, KeyError) as error:
            raise errors.InputError(f"{path / FILE}: expected a search, found {error}") from error
        # By its metric, so that one which no run has can be corrected: nothing has ended by it.
        names = optuna.get_all_study_names(storage)
        for name in names:
            other = optuna.load_study(study_name=name, storage=storage)
            if name != metric and any(trial.state.is_finished() for trial in other.trials):
                raise errors.InputError(
                    f"--search: {path} holds a search by {name!r}, found {metric!r}; use the same "
                    "metric to resume or another folder"
                )
        make = optuna.load_study if metric in names else self._new_study
        # It draws nothing, see `_drawn`; the default one would, whenever values are noted.
        idle = samplers.RandomSampler()
        self._study = make(study_name=metric, storage=storage, sampler=idle)

    def trials(self) -> list[Trial]:
        """All trials so far, in order; only the last one may be pending."""
        return [self._trial(frozen) for frozen in self._frozen()]

    def next(self) -> Trial:
        """The trial that has begun and not ended; otherwise begins one."""
        before = self._frozen()
        if not before or before[-1].state.is_finished():
            number = len(before) + 1
            params = self._proposed(before, number)
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING, params=params, distributions=self._distributions
                )
            )
        return self.trials()[-1]

    def pruned_round(self, values: Mapping[int, float], rounds: int) -> int | None:
        """The first round after which the pending trial is to be given up; None if there is none.

        Trials run to their end until `COMPLETE_BEFORE_PRUNING` others have, and nobody is judged by
        the first quarter of the rounds. After the last round there is nothing to save.

        Args:
          values: of the trial, by round, so far or all.
          rounds: how many there are in all.
        """
        pruner = pruners.MedianPruner(
            n_startup_trials=COMPLETE_BEFORE_PRUNING,
            n_warmup_steps=math.ceil(_ROUNDS_NOT_PRUNED * rounds),
        )
        frozen = self._frozen()[-1]
        for number in values:
            so_far = {each: value for each, value in values.items() if each <= number}
            frozen.intermediate_values = so_far
            if number < rounds and pruner.prune(self._study, frozen):
                return number
        return None

    def report(self, values: Mapping[int, float]) -> None:
        """Notes the values of the pending trial that are not known yet, by round."""
        frozen = self._frozen()[-1]
        trial = self._handle(frozen)
        for number, value in values.items():
            if number not in frozen.intermediate_values:
                trial.report(value, number)

    def end(self, status: str, value: float | None = None, error: str = "") -> None:
        """Ends the pending trial.

        Args:
          status: one of `search_trial.ENDED`.
          value: of a complete trial.
          error: of a failed trial, in one line.
        """
        trial = self._handle(self._frozen()[-1])
        if error:
            trial.set_user_attr(_ERROR, error)
        state = next(state for state, name in _STATUS.items() if name == status)
        self._study.tell(trial, value, state)

    def importances(self) -> dict[str, float] | str:
        """The share of each axis in the variance of the complete trials' values.

        If it cannot be estimated, a sentence that says why.

        By functional analysis of variance on a random forest: Hutter, Hoos, Leyton-Brown: "An
        Efficient Approach for Assessing Hyperparameter Importance" (ICML 2014).
        """
        needed = max(_FEWEST_COMPLETE, _COMPLETE_PER_AXIS * len(self._axes))
        values = [trial.value for trial in self._frozen() if trial.state == TrialState.COMPLETE]
        if len(self._axes) < 2:
            return "The importance of a single flag is not estimated."
        if len(values) < needed:
            return (
                f"The importance of the flags is estimated from {needed} complete trials on; "
                f"there are {len(values)}."
            )
        if min(values) == max(values):
            return "The importance of the flags is undefined: all complete trials are equal."
        evaluator = importance.FanovaImportanceEvaluator(seed=self._seed)
        return importance.get_param_importances(self._study, evaluator=evaluator)

    def _new_study(self, **options: Any) -> optuna.Study:
        direction = "minimize" if registry.is_lower_better(self.metric) else "maximize"
        return optuna.create_study(direction=direction, **options)

    def _frozen(self) -> list[FrozenTrial]:
        return self._study.get_trials()

    def _handle(self, frozen: FrozenTrial) -> optuna.Trial:
        return optuna.Trial(self._study, frozen._trial_id)

    def _trial(self, frozen: FrozenTrial) -> Trial:
        is_complete = frozen.state == TrialState.COMPLETE
        return Trial(
            number=frozen.number + 1,
            settings=self._settings(frozen.params),
            status=_STATUS[frozen.state],
            value=float(frozen.value) if is_complete else math.nan,
            values=dict(sorted(frozen.intermediate_values.items())),
            error=frozen.user_attrs.get(_ERROR, ""),
        )

    def _settings(self, params: Mapping[str, Any]) -> tuple[sweep_plan.Setting, ...]:
        """The settings of a trial in the order of the axes, as on a command line."""
        return tuple((axis.name, str(params[axis.name])) for axis in self._axes)

    def _proposed(self, before: Sequence[FrozenTrial], number: int) -> dict[str, Any]:
        """Settings that no trial before has: runs of equal settings have equal results."""
        if self._sampler == _GRID:
            values = itertools.product(*(axis.ends for axis in self._axes))
            point = next(itertools.islice(values, number - 1, None))
            return dict(zip(self._distributions, point))
        known = [trial.params for trial in before]
        for attempt in itertools.count():
            params = self._drawn(before, number, attempt)
            if params not in known:
                return params
        raise AssertionError("there is an unknown one")

    def _drawn(self, before: Sequence[FrozenTrial], number: int, attempt: int) -> dict[str, Any]:
        """Draws settings by seed, number and the trials before alone.

        They are drawn by a study in memory, so that the journal gets a trial with all its settings
        or none of it.
        """
        seed = seeds.derive_seed(self._seed, "search", number, attempt)[0]
        sampler: samplers.BaseSampler = samplers.RandomSampler(seed)
        if self._sampler == _TPE and attempt < _ATTEMPTS:
            at_random = max(_FEWEST_RANDOM, _RANDOM_PER_AXIS * len(self._axes))
            sampler = samplers.TPESampler(n_startup_trials=at_random, seed=seed)
        study = self._new_study(sampler=sampler)
        study.add_trials(before)
        drawn = study.ask(self._distributions).params
        axes = {axis.name: axis for axis in self._axes}
        return {
            name: axis.rounded(drawn[name]) if isinstance(axis, search_space.Range) else drawn[name]
            for name, axis in axes.items()
        }


def _distribution(axis: search_space.Axis) -> distributions.BaseDistribution:
    if isinstance(axis, search_space.Choice):
        return distributions.CategoricalDistribution(axis.values)
    if axis.is_integer:
        return distributions.IntDistribution(int(axis.low), int(axis.high), axis.is_logarithmic)
    return distributions.FloatDistribution(axis.low, axis.high, axis.is_logarithmic)


def _repaired(path: pathlib.Path) -> pathlib.Path:
    """A journal without what a kill has left: a lock, and a last line that is not whole."""
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink()
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
    return path
