"""The flags of data and outputs that every recipe has, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import (
    attack_flags,
    checks,
    data_flags,
    engine_flags,
    export_flag,
    external_flags,
    federation_flags,
    fraction_flags,
    mlflow_flag,
    published_flag,
    reporting_flags,
    split_seed_flag,
    training_flags,
    weights_flag,
)
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Division, Site
    from tffcxr.studies.study import Settings

FLAGS = flags.FLAGS

_LARGEST_IMAGE = 4096  # Pixels; the size of the largest detectors.


@dataclasses.dataclass(frozen=True)
class PhantomSite:
    """A phantom hospital, used without `--site`.

    Attributes:
      name: of the hospital.
      loader: its loader.
      writer: the function of `tffcxr.datasets.phantoms.phantom` that writes it, from a folder, a
        number of patients and a seed.
      finding: that it labels; empty if all hospitals have the same task.
    """

    name: str
    loader: str
    writer: str
    finding: str = ""


def define(
    *,
    recipe: str,
    site_help: str,
    phantom_patients: int,
    image_size: int,
    phantom_width: float = 1.0,
    partition: str = "none",
    clients_per_site: int = 1,
    augmentation: str = "flip",
    radiographs: bool = True,
) -> None:
    """Defines the flags with a recipe's defaults.

    Args:
      recipe: the program's name.
      site_help: help of `--site` in this recipe.
      phantom_patients: default of the flag.
      image_size: default of the flag, in pixels.
      phantom_width: the recipe's, see `Recipe`.
      partition: default of the flag.
      clients_per_site: default of the flag.
      augmentation: default of the flag.
      radiographs: whether images are radiographs of any shape, and a site may be divided into
        several clients; otherwise they are slices of volumes, and a site is a client.
    """
    flags.DEFINE_string("output_dir", f"runs/{recipe}", "The run's folder; a run in it is resumed.")
    published_flag.define(recipe)
    flags.adopt_module_key_flags(published_flag)
    for module in (export_flag, mlflow_flag, split_seed_flag):
        module.define()
        flags.adopt_module_key_flags(module)
    flags.DEFINE_multi_string("site", [], site_help)
    if radiographs:
        data_flags.define_rejected()
        for module in (data_flags, external_flags):
            module.define()
            flags.adopt_module_key_flags(module)
    flags.DEFINE_integer(
        "phantom_patients", phantom_patients, "Number of patients per phantom hospital."
    )
    flags.DEFINE_string(
        "phantom_dir", None, "Folder for phantoms; default: phantoms/ in the run's folder."
    )
    flags.DEFINE_integer(
        "image_size", image_size, "Height and width of the model's input in pixels."
    )
    flags.DEFINE_flag(weights_flag.flag())
    with_sites = "" if phantom_width == 1 else " Default with --site: 1."
    flags.DEFINE_float(
        "width",
        phantom_width,
        "Approximate fraction of its published channels in every layer of a network; 0.5 is a "
        f"quarter of the work and of the weights. Not with --weights=imagenet.{with_sites} "
        "Default with a run's --weights: that run's.",
    )
    if radiographs:
        flags.DEFINE_enum(
            "fit",
            "pad",
            list(options.FITS),
            "How images are made square: pad with black, or stretch.",
        )
        _define_partition(partition, clients_per_site)
    flags.DEFINE_enum(
        "augmentation",
        augmentation,
        list(options.AUGMENTATIONS),
        "Random augmentation of training images: flip mirrors each with probability 0.5; affine "
        "also rotates, shifts, scales and shears.",
    )
    flags.DEFINE_string(
        "cache_dir", None, "Folder for decoded images; default: cache/ in the run's folder."
    )
    flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates for intervals and the t-test.")
    flags.DEFINE_boolean(
        "tensorboard_histograms", False, "Also write histograms of the weights to TensorBoard."
    )


def _define_partition(partition: str, clients_per_site: int) -> None:
    flags.DEFINE_enum(
        "partition",
        partition,
        list(options.PARTITIONS),
        "How each site's training images are divided among --clients_per_site clients.",
    )
    flags.DEFINE_integer("clients_per_site", clients_per_site, "Number of clients per site.")
    flags.DEFINE_float(
        "alpha",
        0.5,
        "Concentration of the partitions quantity, dirichlet and hybrid; lower is more uneven.",
    )


def define_class_balance() -> None:
    """Defines the flags for recipes of mutually exclusive classes."""
    reporting_flags.define_calibration("temperature")
    flags.declare_key_flag("calibration")
    flags.DEFINE_enum(
        "class_balance",
        "none",
        list(options.CLASS_BALANCES),
        "Correction of class imbalance. weights: each image's loss is multiplied by the inverse "
        "frequency of its class among all clients' training images; clients send their class "
        "counts to the server. sampling: each client draws its classes equally often; its counts "
        "stay at the client.",
    )


def check() -> None:
    """Checks what can be checked before the import of TensorFlow, which takes seconds.

    Raises:
      InputError: a flag is out of range, or has no effect.
    """
    checks.at_least(1, "image_size", "phantom_patients", "bootstrap")
    if FLAGS.image_size > _LARGEST_IMAGE:
        raise InputError(
            f"--image_size: expected at most {_LARGEST_IMAGE}, found {FLAGS.image_size}"
        )
    if not 0 < FLAGS.width <= 1:
        raise InputError(f"--width: expected above 0 and at most 1, found {FLAGS.width}")
    if FLAGS.width != 1 and weights_flag.is_imagenet():
        raise InputError(f"--weights=imagenet: expected --width=1 with it, found {FLAGS.width}")
    weights_flag.check()
    checks.used(not FLAGS.site, "phantom_patients", "no --site", "site")
    checks.used(not FLAGS.site, "phantom_dir", "no --site", "site")
    if "partition" in FLAGS:
        _check_radiographs()


def check_image_multiple(multiple: int) -> None:
    """Raises InputError unless the image size is a multiple of so many pixels."""
    if FLAGS.image_size % multiple:
        raise InputError(
            f"--image_size: expected a multiple of {multiple}, found {FLAGS.image_size}"
        )


def check_shared_task() -> None:
    """Checks all flags of recipes of radiographs whose hospitals have the same task.

    Raises:
      InputError: see `check`, `given_sites`, and the checks of other modules; more clients per
        round than there are.
    """
    from tffcxr.clients import sampling

    training_flags.check()
    check()
    fraction_flags.check()
    sites = given_sites(with_finding=False)
    external_flags.check(with_finding=False)
    if federation_flags.is_hospitals():  # How many there are is not known yet.
        return
    clients_of_site = 1 if FLAGS.partition == "none" else FLAGS.clients_per_site
    # The recipes have one phantom hospital.
    clients = [str(number) for number in range(clients_of_site * max(1, len(sites)))]
    sampling.Sampler(clients, sampling.parse_clients_per_round(FLAGS.clients_per_round))


def _check_radiographs() -> None:
    data_flags.check_rejected()
    checks.at_least(1, "clients_per_site")
    if not 0 < FLAGS.alpha < float("inf"):
        raise InputError(f"--alpha: expected above 0, found {FLAGS.alpha}")
    is_uneven = FLAGS.partition in options.UNEVEN_PARTITIONS
    uneven = "--partition=quantity, dirichlet or hybrid"
    checks.used(is_uneven, "alpha", uneven, "partition", may_be_taken_back=True)
    is_cut = FLAGS.partition != "none"
    checks.used(is_cut, "clients_per_site", "a --partition", "partition", may_be_taken_back=True)


def given_sites(with_finding: bool, loaders: Sequence[str] | None = None) -> list[Site]:
    """The hospitals of `--site`.

    Args:
      with_finding: whether each names its finding.
      loaders: those that the recipe accepts; None for all loaders of radiographs.

    Raises:
      InputError: one does not have the form that the recipe needs; see `data_flags`.
    """
    from tffcxr.clients.sites import Site

    known: dict[str, Any] = {} if loaders is None else {"known": loaders}
    sites = [Site.parse(text, with_finding, **known) for text in FLAGS.site]
    return data_flags.with_options(sites) if "columns" in FLAGS else sites


def division() -> Division:
    """How a site is divided among clients."""
    from tffcxr.clients.sites import Division

    return Division(FLAGS.partition, FLAGS.clients_per_site, FLAGS.alpha)


def load_shared_task(
    sites: Sequence[Site],
    keep: Callable[[pd.DataFrame, Site], pd.DataFrame],
    *,
    stratify: str | None,
    own_test: bool = False,
    test_images: Mapping[str, int] | None = None,
) -> ClientRecords:
    """Calls `sites.load_shared_task` with splits and division from the flags."""
    from tffcxr.clients import sites as sites_lib

    return sites_lib.load_shared_task(
        sites,
        keep,
        fractions=fraction_flags.fractions(),
        seed=split_seed_flag.value(),
        stratify=stratify,
        division=division(),
        own_test=own_test,
        test_images=test_images,
    )


def make_phantoms(run_folder: pathlib.Path, sites: Sequence[PhantomSite]) -> list[Site]:
    """Writes the phantom hospitals of a recipe unless they exist, each with a seed of its own.

    Args:
      run_folder: the parent of their folder without `--phantom_dir`.
      sites: the hospitals, each with a different loader.
    """
    from tffcxr.clients.sites import Site
    from tffcxr.datasets.phantoms import phantom

    root = phantom_dir(run_folder)
    for number, site in enumerate(sites):
        write: Callable[[pathlib.Path, int, int], None] = getattr(phantom, site.writer)
        write(root / site.loader, FLAGS.phantom_patients, split_seed_flag.value() + number)
    return [Site(site.name, site.loader, root / site.loader, site.finding) for site in sites]


def settings(
    recipe: str,
    run_folder: pathlib.Path,
    measured_split: str = "validation",
    calibration: options.Calibration = "none",
) -> Settings:
    """The settings that every kind of study takes from the flags.

    Args:
      recipe: the program's name.
      run_folder: the parent of `cache/` without `--cache_dir`.
      measured_split: the split that models are measured on after a round.
      calibration: default of the flag where there are validation images.
    """
    from tffcxr.studies.study import Settings

    return Settings(
        recipe=recipe,
        image_size=FLAGS.image_size,
        width=FLAGS.width,
        # Without a batch size, nnU-Net plans it, see `NnUNet`.
        batch_size=FLAGS.batch_size or 1,
        cache_dir=cache_dir(run_folder),
        measured_split=measured_split,
        **reporting_flags.settings(calibration),
        fit=FLAGS.fit if "fit" in FLAGS else "pad",
        augmentation=FLAGS.augmentation,
        clients_per_round=FLAGS.clients_per_round,
        seed=FLAGS.seed,
        executor=FLAGS.executor,
        engine=engine_flags.settings(),
        # Slices are files that the program itself wrote.
        max_rejected_fraction=(
            FLAGS.max_rejected_fraction if "max_rejected_fraction" in FLAGS else 0.0
        ),
        replicates=FLAGS.bootstrap,
        histograms=FLAGS.tensorboard_histograms,
        attack=attack_flags.attack(),
        hostile_proof=attack_flags.hostile_proof(),
        phantoms=not FLAGS.site and not federation_flags.is_hospitals(),
        federation=federation_flags.current(),
    )


def cache_dir(run_folder: pathlib.Path) -> pathlib.Path:
    """The folder for decoded images."""
    return pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else run_folder / "cache"


def phantom_dir(run_folder: pathlib.Path) -> pathlib.Path:
    """The folder for the phantoms of these settings.

    Each setting has a folder of its own: a run whose settings were corrected makes its own
    phantoms, and runs that share --phantom_dir share phantoms of the same settings.
    """
    root = pathlib.Path(FLAGS.phantom_dir) if FLAGS.phantom_dir else run_folder / "phantoms"
    return root / f"{FLAGS.phantom_patients}_patients_seed_{split_seed_flag.value()}"
