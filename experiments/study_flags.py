"""The flags of the data and the outputs that every recipe has, and how it runs with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command_line, training_flags
from tffcxr import environment
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from experiments.sites import ClientRecords, Site
    from tffcxr.training.run_directory import RunDirectory

FLAGS = flags.FLAGS

_LARGEST_IMAGE = 4096  # Pixels; as large as detectors are.


def run(
    recipe: str,
    paper: str,
    check_flags: Callable[[], None],
    make: Callable[[RunDirectory], list[dict[str, Any]]],
) -> None:
    """Runs a recipe from its flags to the table in the terminal, unless it is complete.

    A complete run has its record for TensorBoard's HParams, too, whenever it was made.

    What can be wrong is looked at in the order of what it costs: flags, folder, data, model.

    Args:
      recipe: the program's name.
      paper: whose method it is, for the report.
      check_flags: checks the flags by themselves.
      make: makes the results and the report in the run's folder; returns the rows of
        `metrics.json`.
    """
    check_flags()
    environment.prepare_for_precision(FLAGS.precision)
    from experiments import run_hparams
    from tffcxr.training.run_directory import RunDirectory

    output = pathlib.Path(FLAGS.output_dir)
    facts = {"paper": paper, **training_flags.facts()}
    directory = RunDirectory.open(output, recipe, training_flags.recorded_settings(), facts)
    if directory.is_complete:
        if not run_hparams.is_written(output):
            run_hparams.write(output)
        print(f"{output} is complete; its report is {output / 'report.html'}")
        return
    with command_line.guarded(directory):
        rows = make(directory)
        run_hparams.write(output)
    from tffcxr.report import report

    print(report.format_table(rows))
    print(f"report: {output / 'report.html'}")


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
        clients; else they are slices of volumes, and a site is a client.
    """
    flags.DEFINE_string("output_dir", f"runs/{recipe}", "The run's folder; it can be resumed.")
    flags.DEFINE_multi_string("site", [], site_help)
    flags.DEFINE_integer("phantom_patients", phantom_patients, "Patients of a phantom hospital.")
    flags.DEFINE_string("phantom_dir", None, "Folder for phantoms; default: in the run's folder.")
    flags.DEFINE_integer("image_size", image_size, "Height and width of the model's input, pixels.")
    flags.DEFINE_string("weights", "none", "Initial weights: none, imagenet, or a file of a run.")
    if radiographs:
        flags.DEFINE_enum(
            "fit", "pad", ["pad", "stretch"], "What to do with images that are not square."
        )
        _define_partition(partition, clients_per_site)
        flags.DEFINE_float(
            "max_rejected_fraction",
            0.01,
            "Of a client's files, that may be unreadable and are skipped.",
        )
    flags.DEFINE_enum(
        "augmentation",
        augmentation,
        ["none", "flip", "affine"],
        "Of training images: mirror every other one; affine also turns, shifts and scales them.",
    )
    flags.DEFINE_string("cache_dir", None, "Folder for decoded images; default: in the run's.")
    flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates of intervals and the t-test.")
    flags.DEFINE_boolean("tensorboard_histograms", False, "Also write the weights to TensorBoard.")


def _define_partition(partition: str, clients_per_site: int) -> None:
    flags.DEFINE_enum(
        "partition",
        partition,
        ["none", "iid", "quantity", "dirichlet", "hybrid"],
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
        ["none", "weights", "sampling"],
        "For classes of uneven size. weights: the loss of an image is multiplied by the inverse "
        "frequency of its class among the training images of all clients, whose numbers the server "
        "is told; all clients then pursue what they would if pooled. sampling: each client draws "
        "the classes that it has equally often, by its own frequencies, which it tells nobody.",
    )


def define_fractions(*, test: float, chooses: bool = True) -> None:
    """Defines the flags of recipes that measure on the server's images after every round.

    Args:
      test: default of `--test_fraction`.
      chooses: whether the best round is kept; else results are of the last one.
    """
    flags.DEFINE_float(
        "test_fraction", test, "Of the patients, who are not trained on: for the final table."
    )
    flags.DEFINE_float(
        "validation_fraction",
        0.0,
        "Of the patients, who are then not trained on: the best round is chosen on their images. 0 "
        "chooses it on the test images, as the paper does, which is optimistic."
        if chooses
        else "Of the patients, who are then not trained on: every round is measured on their "
        "images, and --schedule=plateau goes by them. 0 measures on the test images.",
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
    training_flags.check_at_least(1, "image_size", "phantom_patients", "bootstrap")
    if FLAGS.image_size > _LARGEST_IMAGE:
        raise InputError(
            f"--image_size: expected at most {_LARGEST_IMAGE}, found {FLAGS.image_size}"
        )
    if FLAGS.weights not in ("none", "imagenet") and not pathlib.Path(FLAGS.weights).exists():
        raise InputError(f"--weights: expected none, imagenet or a file, found {FLAGS.weights!r}")
    check_used = training_flags.check_used
    check_used(not FLAGS.site, "phantom_patients", "no --site", "site")
    check_used(not FLAGS.site, "phantom_dir", "no --site", "site")
    if "partition" in FLAGS:
        _check_radiographs()


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
    check_used = training_flags.check_used
    training_flags.check_at_least(1, "clients_per_site")
    if not 0 < FLAGS.alpha < float("inf"):
        raise InputError(f"--alpha: expected above 0, found {FLAGS.alpha}")
    is_uneven = FLAGS.partition in ("quantity", "dirichlet", "hybrid")
    uneven = "--partition=quantity, dirichlet or hybrid"
    check_used(is_uneven, "alpha", uneven, "partition", may_be_taken_back=True)
    is_cut = FLAGS.partition != "none"
    check_used(is_cut, "clients_per_site", "a --partition", "partition", may_be_taken_back=True)


def given_sites(with_finding: bool, loaders: Sequence[str] | None = None) -> list[Site]:
    """The hospitals of `--site`.

    Args:
      with_finding: whether each names its finding.
      loaders: those that the recipe takes; None for all of radiographs.

    Raises:
      InputError: one is not in the form that the recipe takes.
    """
    from experiments.sites import Site

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
    from experiments import sites as sites_lib

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


def make_phantoms(
    run_folder: pathlib.Path, loader: str, write: Callable[[pathlib.Path, int, int], None]
) -> list[Site]:
    """Makes the one phantom hospital of a recipe, unless it is there.

    Args:
      run_folder: where it goes unless `--phantom_dir` says otherwise.
      loader: what reads it.
      write: from a folder, a number of patients and a seed to the files.
    """
    from experiments.sites import Site

    folder = phantom_dir(run_folder) / loader
    write(folder, FLAGS.phantom_patients, FLAGS.seed)
    return [Site("phantoms", loader, folder)]


def settings(
    recipe: str,
    run_folder: pathlib.Path,
    records: Mapping[str, pd.DataFrame],
    site_of: Mapping[str, str],
    source_of: Mapping[str, str],
) -> dict[str, Any]:
    """The arguments of `study.Study`, from the flags and from what is not one.

    Args:
      recipe: the program's name.
      run_folder: where decoded images go unless `--cache_dir` says otherwise.
      records: client id to its records table with a "split" column.
      site_of: client id to its site.
      source_of: site to the loader that read it.
    """
    from experiments import study

    return {
        "recipe": recipe,
        "records": records,
        "site_of": site_of,
        "source_of": source_of,
        "image_size": FLAGS.image_size,
        "fit": FLAGS.fit if "fit" in FLAGS else "pad",
        "batch_size": FLAGS.batch_size,
        "augmentation": study.AUGMENTATIONS[FLAGS.augmentation],
        "clients_per_round": FLAGS.clients_per_round,
        "seed": FLAGS.seed,
        "executor": FLAGS.executor,
        "cache_dir": cache_dir(run_folder),
        # Slices are files that we wrote ourselves.
        "max_rejected_fraction": (
            FLAGS.max_rejected_fraction if "max_rejected_fraction" in FLAGS else 0.0
        ),
        "replicates": FLAGS.bootstrap,
        "histograms": FLAGS.tensorboard_histograms,
    }


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


def parse_names(name: str, values: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Reads a list flag whose values are names, in the order of `known`.

    Raises:
      InputError: no value, an unknown one, or one twice.
    """
    if not values or not set(values) <= set(known) or len(set(values)) != len(values):
        raise InputError(
            f"--{name}: expected some of {', '.join(known)}, each once, found {','.join(values)!r}"
        )
    return tuple(value for value in known if value in values)
