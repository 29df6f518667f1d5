"""The flags of sites whose images are measured at the end and used for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks, data_flags, federation_flags
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.external_sites import ExternalSites
    from tffcxr.clients.sites import Site

FLAGS = flags.FLAGS

_FLAG = "external_site"


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_multi_string(
        _FLAG,
        [],
        "A hospital like a --site that is not trained on: its images choose nothing, and every "
        "model is measured on them at the end. Images and patients that are trained on are left "
        "out; repeatable.",
    )
    flags.DEFINE_multi_string(
        "same",
        [],
        "A finding or class that an --external_site calls otherwise, as THE_MODEL'S=THE_SITE'S, "
        'such as Pneumonia="Lung Opacity"; repeatable.',
    )


def check(with_finding: bool) -> None:
    """Checks the flags alone.

    Raises:
      InputError: see `given`; there are hospitals, which keep what a model needs to be measured.
    """
    if FLAGS.external_site and federation_flags.is_hospitals():
        raise InputError(
            "--external_site: expected another --engine than hospitals, where each hospital keeps "
            "its operating points and private layers and measures its own run with `evaluate`, "
            f"found {FLAGS.external_site[0]!r}"
        )
    given(with_finding)
    checks.used(bool(FLAGS.external_site), "same", "an --external_site", _FLAG)


def given(with_finding: bool) -> list[Site]:
    """The external sites.

    Raises:
      InputError: one has another form, or two have the same name; see `data_flags`.
    """
    from tffcxr.clients import sites as sites_lib

    parsed = [sites_lib.Site.parse(text, with_finding, flag=_FLAG) for text in FLAGS.external_site]
    sites_lib.check_different([site.name for site in parsed], f"--{_FLAG}")
    return data_flags.with_options(parsed) if parsed else []


def load_findings(trained: Sequence[Site], outputs: Sequence[str]) -> ExternalSites | None:
    """The external sites of a study of findings; None without any.

    Args:
      trained: the sites that are trained on.
      outputs: the findings that the models give.

    Raises:
      InputError: see `external_sites.load_findings`.
    """
    from tffcxr.clients import external_sites

    sites = given(with_finding=True)
    return external_sites.load_findings(sites, trained, outputs, FLAGS.same) if sites else None


def load_shared_task(
    trained: Sequence[Site],
    keep: Callable[[pd.DataFrame, Site], pd.DataFrame],
    outputs: Sequence[str],
) -> ExternalSites | None:
    """The external sites of a study where all sites have the same task; None without any.

    Args:
      trained: the sites that are trained on.
      keep: selects the rows and columns of a site's table that the task needs.
      outputs: the findings or classes of the models; none if they find lungs.

    Raises:
      InputError: see `external_sites.load_shared_task`.
    """
    from tffcxr.clients import external_sites

    sites = given(with_finding=False)
    if not sites:
        return None
    return external_sites.load_shared_task(sites, trained, keep, FLAGS.same, outputs)
