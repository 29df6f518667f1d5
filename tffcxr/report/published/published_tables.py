"""The tables that papers have published: their layout here, their numbers in a CSV file beside it.

A row of NAME.csv has the columns of `Table.keys`, which say what the row is of, and a column of
each published measure. An empty cell is a number that is not at hand: fill it in from the paper,
with as many digits as the paper has. A spread goes into a further column, MEASURE_sd. A key may
have alternatives, as "Pneumonia|Lung Opacity": the paper's word first, then what data sets say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import pathlib

from tffcxr.errors import InputError

_FOLDER = pathlib.Path(__file__).parent
BETWEEN_ALTERNATIVES = "|"
HIGHEST, LEAST = "highest", "least"


@dataclasses.dataclass(frozen=True)
class Key:
    """A column that says what a row is of.

    Attributes:
      name: of the column; in a run, a part of a row of `metrics.json` or a flag.
      heading: what the paper calls it.
      shown: the paper's words for its values, where these are not the usual ones.
    """

    name: str
    heading: str
    shown: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column of numbers.

    Attributes:
      name: of the column of published numbers.
      heading: what the paper calls it.
      own: what a run calls it; empty if as `name`.
      split: of the images that it is of.
      best: `HIGHEST` or `LEAST` where the paper has its best number in bold.
      digits: after the decimal point of a run's numbers.
      is_published: whether the paper has it, too.
    """

    name: str
    heading: str
    own: str = ""
    split: str = "test"
    best: str = ""
    digits: int = 3
    is_published: bool = True


@dataclasses.dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
      name: of its CSV file, and in `--published`.
      recipe: the program whose runs have its numbers.
      title: which table of which paper, and of what.
      keys: see `Key`.
      measures: see `Measure`.
      source: where the numbers in the file were read; empty if none was.
      remark: a sentence for readers of the table.
      of: what all of its rows are of, besides the keys.
    """

    name: str
    recipe: str
    title: str
    keys: Sequence[Key]
    measures: Sequence[Measure]
    source: str = ""
    remark: str = ""
    of: Mapping[str, str] = dataclasses.field(default_factory=dict)


_NETWORK = Key("model", "Network")
_FEDERATION = Key("training", "Training", {"pooled": "Centralised", "federated": "Federated"})
_NODE = Key("task", "Images")
_FEDERATED = {"training": "federated"}
_OUR_READING = (
    "The paper's Tables II and IV have accuracies; that II is of training with and IV of training "
    "without federation is this project's reading."
)
# Of the network itself, so that a row of any split has it.
_PARAMETERS = Measure("parameters_in_millions", "Million parameters", digits=2, is_published=False)
_ACCURACIES = (
    Measure("train_accuracy", "Training accuracy", "accuracy", split="train"),
    Measure("accuracy", "Test accuracy"),
    _PARAMETERS,
)

TABLES = (
    Table(
        "chexviz_table1",
        "cheXviz",
        "Kulkarni et al. 2022 (arXiv 2211.06212), Table 1: federated models and baselines",
        (
            _NETWORK,
            Key("task", "Finding"),
            Key("training", "Model", {"site": "Baseline", "federated": "Federated"}),
        ),
        (
            Measure("loss", "Loss"),
            Measure("sensitivity", "Sensitivity"),
            Measure("specificity", "Specificity"),
            Measure("aupr", "AUPR"),
            Measure("auroc", "AUROC"),
            Measure("p_ttest", "p"),
            Measure("p_delong", "p (DeLong)", is_published=False),
        ),
        source="the paper's abstract",
        remark="p compares the federated model with the baseline by a paired t-test over bootstrap "
        "replicates, as in the paper, and here also by DeLong's test.",
    ),
    Table(
        "cxr_fl_table1",
        "cxr_fl_segmentation",
        "Ślazyk et al. 2022 (arXiv 2204.05203), Table 1: rounds to exceed a Jaccard index of 0.92",
        (Key("local_epochs", "Local epochs"), Key("clients_per_round", "Clients per round")),
        (
            Measure("rounds_1", "Experiment 1", digits=0),
            Measure("rounds_2", "Experiment 2", digits=0),
        ),
    ),
    Table(
        "cxr_fl_table2",
        "cxr_fl_classification",
        "Ślazyk et al. 2022 (arXiv 2204.05203), Table 2: classification of RSNA's three classes",
        (_NETWORK, Key("images_kind", "Images"), Key("clients_per_site", "Clients")),
        (
            Measure("maximum_accuracy", "Maximum accuracy", best=HIGHEST),
            Measure("minimum_loss", "Minimum loss", best=LEAST),
        ),
        of=_FEDERATED,
    ),
    Table(
        "covid_table2",
        "covid",
        "Liu et al. 2020 (arXiv 2007.05592), Table II: accuracy with federation",
        (_NETWORK, _FEDERATION),
        _ACCURACIES,
        remark=_OUR_READING,
    ),
    Table(
        "covid_table3",
        "covid",
        "Liu et al. 2020 (arXiv 2007.05592), Table III: sensitivity by class",
        (_NETWORK, _FEDERATION),
        (
            Measure("normal", "Normal", "sensitivity_by_class/Normal"),
            Measure("pneumonia", "Pneumonia", "sensitivity_by_class/Pneumonia"),
            Measure("covid", "COVID-19", "sensitivity_by_class/COVID-19"),
        ),
    ),
    Table(
        "covid_table4",
        "covid",
        "Liu et al. 2020 (arXiv 2007.05592), Table IV: accuracy without federation",
        (_NETWORK, _FEDERATION),
        _ACCURACIES,
        remark=_OUR_READING,
    ),
    Table(
        "pneumonia_classification",
        "pneumonia",
        "Nagabhushanam & Yaswanth 2025 (NITK): classification, centralised and federated",
        (_NETWORK, _FEDERATION),
        (Measure("accuracy", "Accuracy"), Measure("loss", "Loss")),
        remark="The paper has two data sets, Kermany's and RSNA's; a run has one of them.",
    ),
    Table(
        "pneumonia_segmentation",
        "pneumonia",
        "Nagabhushanam & Yaswanth 2025 (NITK): segmentation by nnU-Net",
        (_FEDERATION,),
        (Measure("loss", "Loss"), Measure("dice", "Dice")),
    ),
    Table(
        "cross_domain_kidneys",
        "cross_domain",
        "Parekh et al. 2022 (arXiv 2112.10001), experiment 1: kidneys in PET and CT",
        (_NODE,),
        (Measure("overlap", "Overlap", "boundary_overlap"),),
        source="the paper's abstract, which gives one number for the experiment",
        remark="The overlap is that of boundary and box, which the paper defines.",
        of=_FEDERATED,
    ),
    Table(
        "cross_domain_lesions",
        "cross_domain",
        "Parekh et al. 2022 (arXiv 2112.10001), experiment 2: lesions in MRI of brain and breast",
        (_NODE,),
        (Measure("dice", "Dice"), Measure("missed", "Missed cases", digits=0)),
        remark="The abstract calls its number an overlap similarity; here it stands by the Dice.",
        source="the paper's abstract, which gives one number for the experiment",
        of=_FEDERATED,
    ),
)
BY_NAME = {table.name: table for table in TABLES}


def of_recipe(recipe: str) -> tuple[str, ...]:
    """Returns the names of the tables that a program's runs can be set beside."""
    return tuple(table.name for table in TABLES if table.recipe == recipe)


def numbers_file(name: str) -> pathlib.Path:
    """Returns the file with the published numbers of a table."""
    return _FOLDER / f"{name}.csv"


def rows(table: Table) -> list[dict[str, str]]:
    """Reads the published rows of a table in their order; an empty text is not at hand.

    Raises:
      InputError: the file has other columns, or a row of another length.
    """
    path = numbers_file(table.name)
    keys = [key.name for key in table.keys]
    measures = [measure.name for measure in table.measures if measure.is_published]
    allowed = {*measures, *(f"{name}_sd" for name in measures)}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or ())
        numbers = set(columns[len(keys) :])
        if columns[: len(keys)] != keys or not set(measures) <= numbers <= allowed:
            raise InputError(
                f"{path}: expected the columns {','.join([*keys, *measures])}, perhaps with _sd, "
                f"found {','.join(columns)}"
            )
        found = list(reader)
    for number, row in enumerate(found, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}: expected {len(columns)} cells in line {number}")
    return found
