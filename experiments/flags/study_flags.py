"""The flags of the data and the outputs that every recipe has, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks, training_flags
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.studies.study import Settings

FLAGS = flags.FLAGS

_LARGEST_IMAGE = 4096  # Pixels; as large as detectors are.


@dataclasses.dataclass(frozen=True)
class PhantomSite:
    """A hospital that is made when none is given.

    Attributes:
      name: of the hospital.
      loader: what reads it.
      writer: the function of `tffcxr.datasets.phantoms.phantom` that makes it, from a folder, a
        number of patients and a seed.
      finding: that it labels; empty where all hospitals train for the same.
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
    partition: str = "none",
    clients_per_site: int = 1,
    augmentation: str = "flip",
    radiographs: bool = True,
) -> None:
    """Defines the flags with a recipe's defaults.

    Args:
      recipe: the program's name.
      site_help: what `--site` is for this recipe.
      phantom_patients: default of the flag.
      image_size: default of the flag, in pixels.
      partition: default of the flag.
      clients_per_site: default of the flag.
      augmentation: default of the flag.
      radiographs: whether images are radiographs, of any shape, and a site may be cut into several
        clients; otherwise they are slices of volumes, and a site is a client.
    """
    flags.DEFINE_string("output_dir", f"runs/{recipe}", "The run's folder; it can be resumed.")
    flags.DEFINE_multi_string("site", [], site_help)
    flags.DEFINE_integer("phantom_patients", phantom_patients, "Patients of a phantom hospital.")
    flags.DEFINE_string(
        "phantom_dir", None, "Folder for phantoms; default: phantoms/ in the run's folder."
    )
    flags.DEFINE_integer(
        "image_size", image_size, "Height and width of the model's input in pixels."
    )
    flags.DEFINE_string(
        "weights",
        "none",
        "Initial weights: none (random), imagenet, the folder of a run, or one of its model files.",
    )
    if radiographs:
        flags.DEFINE_enum(
            "fit", "pad", list(options.FITS), "What to do with images that are not square."
        )
        _define_partition(partition, clients_per_site)
        flags.DEFINE_float(
            "max_rejected_fraction",
            0.01,
            "Maximum fraction of unreadable files per client; these are skipped.",
        )
    flags.DEFINE_enum(
        "augmentation",
        augmentation,
        list(options.AUGMENTATIONS),
        "Random changes to training images: flip mirrors every other one; affine also rotates, "
        "shifts, scales and shears them.",
    )
    flags.DEFINE_string(
        "cache_dir", None, "Folder for decoded images; default: cache/ in the run's folder."
    )
    flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates of intervals and the t-test.")
    flags.DEFINE_boolean("tensorboard_histograms", False, "Also write the weights to TensorBoard.")


def _define_partition(partition: str, clients_per_site: int) -> None:
    flags.DEFINE_enum(
        "partition",
        partition,
        list(options.PARTITIONS),
        "How each site's training images are cut into --clients_per_site clients.",
    )
    flags.DEFINE_integer(
        "clients_per_site", clients_per_site, "Clients that each site is cut into."
    )
    flags.DEFINE_float("alpha", 0.5, "Concentration of the partitions quantity, dirichlet, hybrid.")


def define_class_balance() -> None:
    """Defines the flag of recipes of classes that exclude each other."""
    flags.DEFINE_enum(
        "class_balance",
        "none",
        list(options.CLASS_BALANCES),
        "For classes of uneven size. weights: the loss of an image is multiplied by the inverse "
        "frequency of its class among all clients' training images; clients send their class "
        "counts to the server. sampling: each client draws its classes equally often; its counts "
        "stay with it.",
    )


def define_fractions(*, test: float, chooses: bool = True) -> None:
    """Defines the flags of recipes that measure on the server's images after every round.

    Args:
      test: default of `--test_fraction`.
      chooses: whether the best round is kept; otherwise results are of the last one.
    """
    flags.DEFINE_float("test_fraction", test, "Fraction of patients held out for testing.")
    flags.DEFINE_float(
        "validation_fraction",
        0.0,
        "Fraction of patients held out for choosing the best round. With 0 it is chosen on the "
        "test images, as in the paper, which is optimistically biased."
        if chooses
        else "Fraction of patients held out for validation: every round is measured on their "
        "images, and --schedule=plateau follows them. With 0, rounds are measured on the test "
        "images.",
    )


def fractions() -> dict[str, float]:
    """The shares of the patients in each split."""
    validation, test = FLAGS.validation_fraction, FLAGS.test_fraction
    shares = {"train": 1.0 - test - validation, "validation": validation, "test": test}
    return {split: share for split, share in shares.items() if share}


def measured_split() -> str:
    """The images that are measured after every round."""
    return "validation" if FLAGS.validation_fraction else "test"


def check_fractions() -> None:
    """Checks the shares of the splits, and that test images steer no learning rate.

    Raises:
      InputError: one is out of range, or missing where it is needed.
    """
    test, value = FLAGS.test_fraction, FLAGS.validation_fraction
    if not 0 < test < 1:
        raise InputError(f"--test_fraction: expected above 0 and below 1, found {test}")
    if not 0 <= value < 1 - test:
        raise InputError(f"--validation_fraction: expected 0 to below {1 - test:g}, found {value}")
    if FLAGS.schedule == "plateau" and not value:
        raise InputError(
            "--schedule=plateau: expected a --validation_fraction above 0, since test images may "
            f"not steer the training, found {value}"
        )


def check() -> None:
    """Checks what can be checked before TensorFlow is imported, which takes seconds.

    Raises:
      InputError: a flag is out of range, or does nothing.
    """
    checks.at_least(1, "image_size", "phantom_patients", "bootstrap")
    if FLAGS.image_size > _LARGEST_IMAGE:
        raise InputError(
            f"--image_size: expected at most {_LARGEST_IMAGE}, found {FLAGS.image_size}"
        )
    _check_weights()
    checks.used(not FLAGS.site, "phantom_patients", "no --site", "site")
    checks.used(not FLAGS.site, "phantom_dir", "no --site", "site")
    if "partition" in FLAGS:
        _check_radiographs()


def _check_weights() -> None:
    path = pathlib.Path(FLAGS.weights)
    if FLAGS.weights in ("none", "imagenet") or path.is_file():
        return
    if not path.is_dir():
        raise InputError(
            f"--weights: expected none, imagenet, a run's folder or a file, found {FLAGS.weights!r}"
        )
    from tffcxr.models.files import run_models

    try:
        run_models.in_run(path)
    except InputError as error:
        raise InputError(f"--weights: {error}") from error


def check_image_multiple(multiple: int) -> None:
    """Raises InputError unless the images have the size that a network can halve so often."""
    if FLAGS.image_size % multiple:
        raise InputError(
            f"--image_size: expected a multiple of {multiple}, found {FLAGS.image_size}"
        )


def check_shared_task() -> None:
    """Checks all flags of radiographs' recipes whose hospitals train for the same.

    Raises:
      InputError: see `check`, `training_flags.check`, `check_fractions` and `given_sites`; more
        clients per round than there are.
    """
    from tffcxr.clients import sampling

    training_flags.check()
    check()
    check_fractions()
    sites = given_sites(with_finding=False)
    clients_of_site = 1 if FLAGS.partition == "none" else FLAGS.clients_per_site
    # The recipes' phantoms are of one hospital.
    clients = [str(number) for number in range(clients_of_site * max(1, len(sites)))]
    sampling.Sampler(clients, sampling.parse_clients_per_round(FLAGS.clients_per_round))


def _check_radiographs() -> None:
    if not 0 <= FLAGS.max_rejected_fraction <= 1:
        raise InputError(
            f"--max_rejected_fraction: expected 0 to 1, found {FLAGS.max_rejected_fraction}"
        )
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
      loaders: those that the recipe takes; None for all of radiographs.

    Raises:
      InputError: one is not in the form that the recipe takes.
    """
    from tffcxr.clients.sites import Site

    known = {} if loaders is None else {"known": loaders}
    return [Site.parse(text, with_finding, **known) for text in FLAGS.site]


def load_shared_task(
    sites: Sequence[Site],
    keep: Callable[[pd.DataFrame, Site], pd.DataFrame],
    *,
    stratify: str | None,
    own_test: bool = False,
) -> ClientRecords:
    """As `sites.load_shared_task`, with splits and partition from the flags."""
    from tffcxr.clients import sites as sites_lib

    return sites_lib.load_shared_task(
        sites,
        keep,
        fractions=fractions(),
        seed=FLAGS.seed,
        stratify=stratify,
        partition_name=FLAGS.partition,
        clients_per_site=FLAGS.clients_per_site,
        alpha=FLAGS.alpha,
        own_test=own_test,
    )


def make_phantoms(run_folder: pathlib.Path, sites: Sequence[PhantomSite]) -> list[Site]:
    """Makes the phantom hospitals of a recipe, unless they are there; each with a seed of its own.

    Args:
      run_folder: where they go unless `--phantom_dir` says otherwise.
      sites: the hospitals, each of another loader.
    """
    from tffcxr.clients.sites import Site
    from tffcxr.datasets.phantoms import phantom

    root = phantom_dir(run_folder)
    for number, site in enumerate(sites):
        write: Callable[[pathlib.Path, int, int], None] = getattr(phantom, site.writer)
        write(root / site.loader, FLAGS.phantom_patients, FLAGS.seed + number)
    return [Site(site.name, site.loader, root / site.loader, site.finding) for site in sites]


def settings(recipe: str, run_folder: pathlib.Path, measured_split: str = "validation") -> Settings:
    """What the flags tell a study of every kind.

    Args:
      recipe: the program's name.
      run_folder: where decoded images go unless `--cache_dir` says otherwise.
      measured_split: the images that models are measured on after a round.
    """
    from tffcxr.studies.study import Settings

    return Settings(
        recipe=recipe,
        image_size=FLAGS.image_size,
        # What has no batch size plans it, see `NnUNet`.
        batch_size=FLAGS.batch_size or 1,
        cache_dir=cache_dir(run_folder),
        measured_split=measured_split,
        fit=FLAGS.fit if "fit" in FLAGS else "pad",
        augmentation=FLAGS.augmentation,
        clients_per_round=FLAGS.clients_per_round,
        seed=FLAGS.seed,
        executor=FLAGS.executor,
        # Slices are files that we wrote ourselves.
        max_rejected_fraction=(
            FLAGS.max_rejected_fraction if "max_rejected_fraction" in FLAGS else 0.0
        ),
        replicates=FLAGS.bootstrap,
        histograms=FLAGS.tensorboard_histograms,
        phantoms=not FLAGS.site,
    )


def cache_dir(run_folder: pathlib.Path) -> pathlib.Path:
    """Where decoded images go."""
    return pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else run_folder / "cache"


def phantom_dir(run_folder: pathlib.Path) -> pathlib.Path:
    """Where the phantoms of these settings go.

    Each setting has a folder of its own, so that a run whose settings were corrected makes its own
    phantoms, and runs that share --phantom_dir share them.
    """
    root = pathlib.Path(FLAGS.phantom_dir) if FLAGS.phantom_dir else run_folder / "phantoms"
    return root / f"{FLAGS.phantom_patients}_patients_seed_{FLAGS.seed}"
