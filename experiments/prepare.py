r"""Says what is in data sets, and with --check what is wrong with them, before anybody trains.

  ./bazelw run //experiments:prepare -- --site=a=rsna:/data/rsna
  ./bazelw run //experiments:prepare -- --check --site=a=csv:/data/a --site=b=nih:/data/nih

Without --check only tables are read: images, patients, labels, views, ages. --check also reads
every image and finds missing and unusable files, the same image twice, patients on both sides of a
split or at two sites, labels that contradict each other, lateral views and other parts of the body,
text burned into the border, and differences between sites. The results are check.html and
check.json in --output_dir; they name files and stay at the hospital. The exit status is 2 where
training would give wrong results.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import command_line, data_flags, typed
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.clients.sites import Site

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "site",
    [],
    "The images of a hospital, as NAME=LOADER:PATH. Repeat the flag for each hospital. "
    "A finding after the path is ignored.",
)
flags.DEFINE_boolean("check", False, "Read every image, and say what is wrong.")
flags.DEFINE_string("output_dir", "runs/check", "Folder for check.html and check.json.")
data_flags.define_rejected()
data_flags.define()
flags.adopt_module_key_flags(data_flags)
FLAGS.set_default("views", "all")


def main(unused_operands: list[str]) -> None:
    """Runs the program."""
    if not FLAGS.site:
        raise InputError("--site: expected NAME=LOADER:PATH, found none")
    data_flags.check_rejected()
    from tffcxr.clients import sites as sites_lib
    from tffcxr.data_check import check_report, checking, fault, inventory

    parsed = [_without_finding(sites_lib.Site.parse(text)) for text in FLAGS.site]
    sites_lib.check_names(parsed)
    folder = pathlib.Path(FLAGS.output_dir)
    for site in parsed:
        if not site.path.exists():
            raise InputError(f"--site: expected a data set at {site.path}, found nothing")
    sites, faults = checking.load(data_flags.with_options(parsed), FLAGS.max_rejected_fraction)
    if not sites:
        raise InputError("; ".join(each.sentence for each in faults))
    if FLAGS.check:
        sites = [checking.with_facts(site) for site in sites]
        faults += checking.find_faults(sites, FLAGS.max_rejected_fraction)
    about = [inventory.describe(site) for site in sites]
    try:
        page = check_report.write(folder, about, faults, typed.current().words, FLAGS.check)
    except OSError as error:
        raise InputError(f"--output_dir: {error.strerror}: {error.filename}") from error
    print(check_report.format_terminal(about, faults))
    print(f"page: {page}")
    wrong = [each for each in faults if each.severity == fault.WRONG]
    if wrong:
        kinds = ", ".join(dict.fromkeys(each.kind for each in wrong))
        raise InputError(f"training on this would give wrong results: {kinds}")


def _without_finding(site: Site) -> Site:
    """The site of a command of cheXviz, which may name a finding."""
    if site.finding:
        logging.getLogger(__name__).warning(
            "site %s: %s is ignored, since every finding is looked at", site.name, site.finding
        )
    return dataclasses.replace(site, finding="")


if __name__ == "__main__":
    command_line.run(main)
