"""A recipe: a program that trains and compares models as a paper does, from its flags to a report.

flags ─► check ─► run's folder ─► make_study ─► Study.run ─► table in the terminal
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import pathlib
import textwrap
from typing import TYPE_CHECKING, ClassVar

from absl import flags

from experiments.flags import (
    command_line,
    export_flag,
    federation_flags,
    mlflow_flag,
    published_flag,
    training_flags,
    weights_flag,
)
from tffcxr import environment

if TYPE_CHECKING:
    from tffcxr.studies.study import Study

FLAGS = flags.FLAGS
_WIDTH = 100  # Of the terminal, as for the tables of results.


@dataclasses.dataclass(frozen=True)
class Recipe(abc.ABC):
    """A program that follows a paper.

    Attributes:
      name: of the program.
      paper: citation of the method, for the report.
      phantom_width: default of `--width` on phantoms, of which a whole network may learn too little
        in minutes.
      with_finding: whether each hospital labels a finding of its own.
    """

    name: str
    paper: str
    phantom_width: ClassVar[float] = 1.0
    with_finding: ClassVar[bool] = False

    def apply_defaults(self) -> None:
        """Sets the defaults that depend on other flags.

        ImageNet's weights exist for whole networks only, so with them the width is 1; those of a
        run fit networks of its width.
        """
        federation_flags.apply_defaults()
        is_whole = FLAGS.site or federation_flags.is_hospitals() or weights_flag.is_imagenet()
        width = weights_flag.width()
        if width is None:
            width = 1.0 if is_whole else self.phantom_width
        FLAGS.set_default("width", width)

    def _opened(self, folder: pathlib.Path) -> contextlib.AbstractContextManager[None]:
        return federation_flags.opened(self.name, folder, self.with_finding)

    @abc.abstractmethod
    def check(self) -> None:
        """Checks the flags alone, before the import of TensorFlow, which takes seconds.

        Raises:
          InputError: a flag is out of range, has no effect, or conflicts with another.
        """

    @abc.abstractmethod
    def make_study(self, run_folder: pathlib.Path) -> Study:
        """Loads the clients' records, or makes phantoms, and returns the study.

        Checks come in the order of their cost: data, model, phantoms.

        Raises:
          InputError: unusable data or model.
        """

    def main(self, unused_operands: list[str]) -> None:
        """Runs the recipe, unless it is complete."""
        federation_flags.apply_proposal()  # Defaults of a recipe may depend on its settings,
        self.apply_defaults()
        federation_flags.apply_proposal()  # and give way to them.
        self.check()
        federation_flags.check()
        store = mlflow_flag.store()
        environment.prepare_for_precision(FLAGS.precision)
        from tffcxr.training.run_directory import RunDirectory

        output = pathlib.Path(FLAGS.output_dir)
        published = published_flag.names()
        facts = {
            "paper": self.paper,
            "published": published,
            "engine": FLAGS.engine,
            **training_flags.facts(),
        }
        settings = training_flags.recorded_settings()
        directory = RunDirectory.open(output, self.name, settings, facts)
        is_other_page = bool(published) and directory.record_fact("published", published)
        from tffcxr.report import hospitals_table, run_report
        from tffcxr.studies import run_hparams

        if directory.is_complete and federation_flags.is_settled(output):
            if not run_hparams.is_written(output):
                run_hparams.write(output)
            if is_other_page:
                run_report.write_report(output)
            export_flag.write_missing(output)
            mlflow_flag.log(output, store)
            print(f"{output} is complete; its report is {output / 'report.html'}")
            return
        is_coordinator = federation_flags.is_coordinator()
        with command_line.guarded(directory), self._opened(directory.path):
            study = self.make_study(directory.path)
            rows = study.run(directory)
            run_hparams.write(output)
            export_flag.write_missing(output)
        if rows or not is_coordinator:
            print(run_report.format_table(rows, study.kind))
        else:
            print(textwrap.fill(hospitals_table.NO_RESULTS, _WIDTH))
        print(f"report: {output / 'report.html'}")
        mlflow_flag.log(output, store)
