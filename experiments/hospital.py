r"""Joins hospitals that may not share images in one study: certificates, checks, and taking part.

Who runs the study makes the kits once, from a study.toml:

  ./bazelw run //experiments:hospital -- provision --study=study.toml --output_dir=kits

  name = "opacity-and-pneumothorax"
  coordinator = "study.example.org:8443"   # Where hospitals connect to.
  days = 365                              # How long certificates are valid.
  [sites.north]
  finding = "Lung Opacity"                # Only for recipes of findings.
  [sites.south]
  findings = ["Pneumothorax", "Effusion"]

kits/coordinator stays, kits/north and kits/south go to their hospitals in a way that nobody else
reads, since each holds a private key. Run again, it keeps what is there and adds new sites.
--renew=north issues a new certificate and revokes the old one; --revoke=south only revokes.
kits/authority signs all this: keep it where the coordinator's computer does not reach.

At a hospital, check says whether the kit is in order, what is in the data, and whether the
coordinator can be reached; with status 1 if it cannot, as before the study is started. It changes
nothing, but records the question in the kit's outgoing_questions.jsonl:

  ./bazelw run //experiments:hospital -- check --kit=kits/north \
      --site=north=rsna:/data/rsna:"Lung Opacity"

A recipe with the coordinator's kit proposes the study, with its flags, and prints its hash:

  ./bazelw run //experiments:cheXviz -- --engine=hospitals --kit=kits/coordinator --rounds=30

join shows the proposed study, asks whether to take part, and computes this hospital's part:

  ./bazelw run //experiments:hospital -- join --kit=kits/north \
      --site=north=rsna:/data/rsna:"Lung Opacity"

status says who is connected and how far the study is, with any kit. demo does all this on one
computer, with three hospitals that have phantoms, in one to two minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from experiments import recipes
from experiments.flags import command_line, federation_flags
from tffcxr import options
from tffcxr.errors import InputError, RunError, did_you_mean

if TYPE_CHECKING:
    from tffcxr.datasets.load_options import LoadOptions

FLAGS = flags.FLAGS

flags.DEFINE_string("study", None, "provision: the study.toml; see above.")
flags.DEFINE_string(
    "output_dir",
    None,
    "provision: the folder of the kits; default kits. join: the folder of the hospital's own run, "
    "with its report; default a folder in runs/ for each study. demo: the folder of the whole "
    "study, new or empty; default a temporary one, which is removed.",
)
flags.DEFINE_list(
    "renew",
    [],
    "provision: sites whose certificate is replaced by a new one; also coordinator, whose old "
    "certificate stays valid until it expires.",
)
flags.DEFINE_list("revoke", [], "provision: sites whose certificates are not accepted any more.")
flags.DEFINE_string("kit", None, "check, join, status: the folder of a kit.")
flags.DEFINE_string(
    "approve",
    None,
    "join: the hash of a study that is approved without a question; its first 8 digits or more.",
)
flags.DEFINE_string("cache_dir", None, "join: folder for decoded images; default in output_dir.")
flags.DEFINE_string(
    "site",
    None,
    "check, join: the hospital's images, as NAME=LOADER:PATH:FINDING or NAME=LOADER:PATH, which "
    "has all findings that the study has for the hospital; NAME is that of the kit.",
)
flags.DEFINE_string(
    "columns",
    None,
    "check, join: the TOML file that says what the columns of a csv: table are, where their names "
    "do not.",
)
flags.DEFINE_enum(
    "uncertain",
    "ignore",
    list(options.UNCERTAIN),
    "check: what an uncertain label (-1) counts as; join has the study's.",
)
flags.DEFINE_enum(
    "views",
    "frontal",
    list(options.VIEWS),
    "check: the radiographs that are read; join has the study's.",
)


def main(operands: list[str]) -> None:
    """Runs the program."""
    if len(operands) != 1 or operands[0] not in _COMMANDS:
        hint = did_you_mean(operands[0], _COMMANDS) if operands else ""
        raise InputError(
            f"expected one of the commands {', '.join(_COMMANDS)}, "
            f"found {' '.join(operands) or 'none'}{hint} (--help explains them)"
        )
    name = operands[0]
    for other in _COMMANDS.values():
        for flag in other.flags:
            if FLAGS[flag].present and flag not in _COMMANDS[name].flags:
                raise InputError(f"--{flag}: expected another command than {name} with it")
    # Before gRPC is imported: it would add lines of its own to what is said of an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        _COMMANDS[name].run()
    except OSError as error:
        raise InputError(
            f"expected files that can be read and written, found {error.strerror}: {error.filename}"
        ) from error


def _provision() -> None:
    from tffcxr.hospitals import provision

    if FLAGS.study is None:
        raise InputError("--study: expected a study.toml, found none")
    folder = pathlib.Path(FLAGS.output_dir or "kits")
    for line in provision.provision(pathlib.Path(FLAGS.study), folder, FLAGS.renew, FLAGS.revoke):
        print(line)


def _check() -> None:
    from tffcxr.clients import sites
    from tffcxr.hospitals import joining, kits, local_check
    from tffcxr.hospitals.protocol import UnreachableError

    if FLAGS.kit is None:
        raise InputError("--kit: expected the folder of a kit, found none")
    kit = kits.read(pathlib.Path(FLAGS.kit))
    _print(local_check.describe_kit(kit))
    if FLAGS.site is None and FLAGS.columns:
        raise InputError("--columns: expected a --site with it, found none")
    if FLAGS.site is not None:
        site = dataclasses.replace(sites.Site.parse(FLAGS.site), options=_load_options())
        _print(local_check.describe_data(kit, site))
    if kit.role == kits.SITE:
        try:
            joining.ask_status(kit)
        except UnreachableError as error:
            raise RunError(f"{error}; all else is in order") from error
        print(f"connection: reached the coordinator at {kit.address}")


def _load_options() -> LoadOptions:
    from tffcxr.datasets.load_options import LoadOptions
    from tffcxr.datasets.tables import columns

    given = columns.read(pathlib.Path(FLAGS.columns)) if FLAGS.columns else columns.Columns()
    return LoadOptions(given, FLAGS.uncertain, FLAGS.views)


def _join() -> None:
    from tffcxr import child_process, files
    from tffcxr.clients import sites
    from tffcxr.hospitals import joining, kits, local_check
    from tffcxr.training import run_directory

    if FLAGS.kit is None or FLAGS.site is None:
        raise InputError("expected a --kit and the hospital's --site, found only one or none")
    kit = kits.read_site(pathlib.Path(FLAGS.kit))
    site = sites.Site.parse(FLAGS.site)
    if site.name != kit.site:
        raise InputError(f"--site: expected {kit.site}, as in the kit, found {site.name}")
    own_run = pathlib.Path(FLAGS.output_dir) if FLAGS.output_dir else None
    if (
        own_run
        and run_directory.is_complete(own_run)
        and federation_flags.has_reported_results(own_run)
    ):
        print(f"{own_run} is complete; its report is {own_run / 'report.html'}")
        return
    # A wrong path is said at once, not after the coordinator is there and somebody has approved.
    local_check.describe_data(kit, dataclasses.replace(site, options=_load_options()))
    approve = joining.ask_for_approval(kit, FLAGS.approve, sys.stdin.isatty(), input)
    with joining.connected(kit, federation_flags.versions(), approve) as (_, proposal):
        path = kit.folder / "proposals" / f"{proposal.hash}.json"
        files.write_atomically(path, lambda file: file.write(proposal.to_json()))
    if proposal.recipe not in recipes.RECIPES:
        raise RunError(f"expected one of the recipes here, found {proposal.recipe!r}")
    folder = FLAGS.output_dir or f"runs/{kit.study}_{kit.site}_{proposal.hash[:8]}"
    own = [
        f"--proposal={path}",
        f"--kit={FLAGS.kit}",
        f"--site={FLAGS.site}",
        f"--output_dir={folder}",
    ]
    own += [f"--cache_dir={FLAGS.cache_dir}"] if FLAGS.cache_dir else []
    own += [f"--columns={FLAGS.columns}"] if FLAGS.columns else []
    words = ["-m", f"experiments.{proposal.recipe}", "--engine=hospitals", *own]
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *words], child_process.environment())


def _status() -> None:
    from tffcxr.hospitals import joining, kits, status_table

    if FLAGS.kit is None:
        raise InputError("--kit: expected the folder of a kit, found none")
    kit = kits.read(pathlib.Path(FLAGS.kit))
    _print(status_table.lines(joining.ask_status(kit), time.time()))


def _demo() -> None:
    from tffcxr.hospitals import demo

    output_dir = pathlib.Path(FLAGS.output_dir) if FLAGS.output_dir else None
    with demo.opened(output_dir) as folder:
        demo.run(folder, lambda line: print(line, flush=True))
        if output_dir is None:
            print(f"removing {folder}; --output_dir=FOLDER keeps the reports of all four")
            return
        for name in demo.NAMES:
            print(f"report of {name}: {folder / name / 'run' / 'report.html'}")


def _print(lines: Sequence[str]) -> None:
    print(*lines, sep="\n", flush=True)


class _Command(NamedTuple):
    """What a first operand does, and the flags that it takes."""

    run: Callable[[], None]
    flags: tuple[str, ...]


_COMMANDS = {
    "provision": _Command(_provision, ("study", "output_dir", "renew", "revoke")),
    "check": _Command(_check, ("kit", "site", "columns", "uncertain", "views")),
    "join": _Command(_join, ("kit", "site", "columns", "approve", "output_dir", "cache_dir")),
    "status": _Command(_status, ("kit",)),
    "demo": _Command(_demo, ("output_dir",)),
}

if __name__ == "__main__":
    command_line.run(main, f"one of the commands {', '.join(_COMMANDS)}")
