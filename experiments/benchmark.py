"""Measures what federation costs: speed against Keras `fit`, memory, start, and preparing images.

tffcxr under each executor, plain Keras, and TFF's own federated averaging over arrays in memory
train the same model on the same images, in turns, each in a process of its own. Speeds are medians
of the steady state. Images are phantoms; --dicom_dir gives real ones.

  ./bazelw run //experiments:benchmark -- --output_dir=DIR --quick

writes DIR/benchmark.json and DIR/benchmark.png and prints the table. Run nothing else on the
machine meanwhile. All measurements take hours on two cores, --quick about two minutes; --measure
and --models select some of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import command_line
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.benchmarks.benchmark_engines import Job
    from tffcxr.benchmarks.benchmark_process import Outcome
    from tffcxr.benchmarks.benchmark_results import Row

FLAGS = flags.FLAGS

_MEASURES = ("rounds", "memory", "startup", "pipeline", "prepare", "privacy")
_PROTECTIONS = ("dp_sgd", "dp", "secure", "robust", "median", "krum")
# Models that are not here take images of 224 pixels, as those of ImageNet.
_IMAGE_SIZES = {"standard": 128, **dict.fromkeys(options.SEGMENTERS, 256)}
_MODELS = (*options.CLASSIFIERS, *options.SEGMENTERS)
# Segmenters with a classifier as encoder would add hours; they are measured where they are named.
_DEFAULT_MODELS = (*options.CLASSIFIERS, "unet", "unetplusplus", "nnunet")
_SMALL_MODEL, _SMALL_SIZE = "standard", 16
_FINDING = "Lung Opacity"

flags.DEFINE_string("output_dir", "runs/benchmark", "Folder of the results; new or empty.")
flags.DEFINE_boolean("quick", False, "Measure less: one model, small images, few rounds.")
flags.DEFINE_list(
    "measure",
    list(_MEASURES),
    "What to measure: rounds (images per second), memory (by clients and by rounds), startup (time "
    "to the first finished round), pipeline (input alone), prepare (DICOM to shards), privacy "
    "(rounds with differential privacy and with other aggregators, all clients in one process).",
)
flags.DEFINE_list(
    "models",
    None,
    "Models; default: all but those with the name of an encoder (unet_resnet34), with --quick "
    "standard.",
)
flags.DEFINE_list("executors", list(options.EXECUTORS), "Executors of tffcxr: device, native.")
flags.DEFINE_boolean("stock", True, "Also measure TFF's own federated averaging.")
flags.DEFINE_list(
    "clients", None, "Clients per round, for memory; default: 2,20,100, with --quick 2,10."
)
flags.DEFINE_integer(
    "images_per_client",
    None,
    "Images per client, for rounds; default: 512 of up to 128 pixels, 64 of more.",
)
flags.DEFINE_integer("rounds", None, "Rounds over which memory is measured; default: 500.")
flags.DEFINE_integer("repetitions", None, "Timed runs of each kind, in turns; default: 5.")
flags.DEFINE_integer("batch_size", 8, "Images per step.")
flags.DEFINE_string(
    "dicom_dir", None, "Folder in RSNA's layout with the images to measure on. Default: phantoms."
)
flags.DEFINE_integer("seed", 0, "Seed of phantoms, weights and order.")


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is measured, and its sizes and counts."""

    models: tuple[str, ...]
    executors: tuple[str, ...]
    with_stock: bool
    image_sizes: dict[str, int]
    images_per_client: dict[str, int]
    clients: tuple[int, ...]
    rounds: int
    repetitions: int
    batch_size: int
    seed: int
    dicoms: int
    dicom_pixels: int
    prepared_size: int

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that train in federated rounds."""
        return (*self.executors, "stock") if self.with_stock else self.executors


def main(unused_operands: list[str]) -> None:
    """Runs the benchmark."""
    measures = _names("measure", FLAGS.measure, _MEASURES)
    executors = _names("executors", FLAGS.executors, options.EXECUTORS)
    for name, minimum in (
        ("batch_size", 1),
        ("repetitions", 1),
        ("images_per_client", 1),
        ("rounds", 4),
    ):
        if FLAGS[name].value is not None and FLAGS[name].value < minimum:
            raise InputError(f"--{name}: expected at least {minimum}, found {FLAGS[name].value}")
    clients = _client_counts()
    output = pathlib.Path(FLAGS.output_dir).absolute()
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"--output_dir: expected an empty folder or none, found files in {output}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".benchmark-", dir=output)
    except OSError as error:
        raise InputError(f"--output_dir: expected a folder to write to, found {error}") from None
    with scratch as folder:
        plan = _plan(executors, clients)
        if _run(plan, measures, output, pathlib.Path(folder)):
            command_line.fail("some measurements failed; see the table", 1)


def _names(flag: str, found: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in found if name not in known]
    if unknown or not found:
        raise InputError(f"--{flag}: expected some of {','.join(known)}, found {','.join(found)!r}")
    return tuple(name for name in known if name in found)


def _client_counts() -> tuple[int, ...]:
    texts = FLAGS.clients or (["2", "10"] if FLAGS.quick else ["2", "20", "100"])
    if not all(text.isascii() and text.isdecimal() and int(text) for text in texts):
        raise InputError(f"--clients: expected counts of at least 1, found {','.join(texts)!r}")
    return tuple(sorted({int(text) for text in texts}))


def _plan(executors: tuple[str, ...], clients: tuple[int, ...]) -> _Plan:
    models = _names("models", _DEFAULT_MODELS if FLAGS.models is None else FLAGS.models, _MODELS)
    if FLAGS.quick and not FLAGS.models:
        models = (_SMALL_MODEL,)
    sizes = {name: _IMAGE_SIZES.get(name, 224) for name in models}
    if FLAGS.quick:
        sizes = dict.fromkeys(models, 64)
    # A client makes several steps in a round, and a round takes few minutes.
    share = 4 if FLAGS.quick else 1
    images = {
        name: FLAGS.images_per_client or (512 if size <= 128 else 64) // share
        for name, size in sizes.items()
    }
    return _Plan(
        models=models,
        executors=executors,
        with_stock=FLAGS.stock,
        image_sizes=sizes,
        images_per_client=images,
        clients=clients,
        rounds=FLAGS.rounds or (60 if FLAGS.quick else 500),
        repetitions=FLAGS.repetitions or (2 if FLAGS.quick else 5),
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        dicoms=48 if FLAGS.quick else 400,
        dicom_pixels=256 if FLAGS.quick else 512,
        prepared_size=128 if FLAGS.quick else 224,
    )


def _run(plan: _Plan, measures: Sequence[str], output: pathlib.Path, scratch: pathlib.Path) -> bool:
    """Measures, and writes the results so far after every step; returns whether any failed."""
    from tffcxr.benchmarks import benchmark_results

    settings = {**dataclasses.asdict(plan), "measures": list(measures), "quick": FLAGS.quick}
    bench = _Bench(plan, _records(plan, scratch), output / "benchmark.log", scratch)
    rows: list[Row] = []
    for measure in measures:
        for row in getattr(bench, measure)():
            rows.append(row)
            benchmark_results.write_json(output / "benchmark.json", rows, settings, False)
    benchmark_results.write_figure(output / "benchmark.png", rows)
    benchmark_results.write_json(output / "benchmark.json", rows, settings, True)
    print(benchmark_results.format_table(rows))
    print(f"results: {output / 'benchmark.json'}")
    return any(row.get("error") for row in rows)


def _records(plan: _Plan, scratch: pathlib.Path) -> pd.DataFrame:
    """The records table of the images to measure on."""
    from tffcxr.datasets import loaders
    from tffcxr.datasets.phantoms import phantom

    root = pathlib.Path(FLAGS.dicom_dir) if FLAGS.dicom_dir else scratch / "phantoms"
    if not FLAGS.dicom_dir:
        _note(f"drawing {plan.dicoms} phantoms of {plan.dicom_pixels} pixels")
        phantom.write_rsna(root, plan.dicoms, plan.seed, size=plan.dicom_pixels)
    records = loaders.load_records("rsna", root, "benchmark")
    return records.head(plan.dicoms if FLAGS.quick else len(records))


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Bench:
    """The measurements. Each method yields rows as they are done."""

    def __init__(
        self, plan: _Plan, records: pd.DataFrame, log: pathlib.Path, scratch: pathlib.Path
    ) -> None:
        self._plan = plan
        self._records = records
        self._log = log
        self._scratch = scratch

    def rounds(self) -> Iterator[Row]:
        """Images per second of two clients, against Keras."""
        from tffcxr.benchmarks.benchmark_results import row

        for model in self._plan.models:
            size = self._plan.image_sizes[model]
            store = self._store(size, 2, self._plan.images_per_client[model], model)
            jobs = [self._job(e, store, size, 2, model) for e in ("keras", *self._plan.engines)]
            # A round of equal work for all; Keras calls it an epoch.
            outcomes = self._race(jobs, [1] * self._plan.repetitions)
            for outcome in outcomes:
                first = outcome.first.seconds if outcome.first else None
                yield row("round", outcome, outcomes[0], first_round_seconds=first)

    def privacy(self) -> Iterator[Row]:
        """Images per second with what protects clients, against plain rounds and Keras."""
        from tffcxr.benchmarks.benchmark_results import row

        for model in self._plan.models:
            size = self._plan.image_sizes[model]
            store = self._store(size, 2, self._plan.images_per_client[model], model)
            keras, plain = (
                # Gradients of single images leave no batch to normalise over.
                dataclasses.replace(self._job(e, store, size, 2, model), batch_norm="group")
                for e in ("keras", "device")
            )
            protected = [dataclasses.replace(plain, protection=each) for each in _PROTECTIONS]
            outcomes = self._race([keras, plain, *protected], [1] * self._plan.repetitions)
            for what, outcome in zip(("", "plain", *_PROTECTIONS), outcomes):
                speed, plain_speed = outcome.speed, outcomes[1].speed
                ratio = round(speed / plain_speed, 3) if speed and plain_speed else None
                name = f"round, {what}" if what else "round, group norm"
                yield row(name, outcome, outcomes[0], ratio_to_plain_rounds=ratio)

    def memory(self) -> Iterator[Row]:
        """Peak memory and seconds per client by number of clients, and memory over rounds."""
        from tffcxr.benchmarks import benchmark_results

        for model in self._plan.models:
            size = self._plan.image_sizes[model]
            most = max(self._plan.clients)
            store = self._store(size, most, 2 * self._plan.batch_size, model)
            for engine in self._plan.executors if FLAGS.quick else self._plan.engines:
                jobs = [self._job(engine, store, size, n, model) for n in self._plan.clients]
                for outcome in self._race(jobs, [1] * min(3, self._plan.repetitions)):
                    yield benchmark_results.memory_row("clients", outcome)
        store = self._store(_SMALL_SIZE, 2, 2 * self._plan.batch_size)
        rounds = self._rounds_between_looks()
        for engine in self._plan.executors:
            job = self._job(engine, store, _SMALL_SIZE, 2, _SMALL_MODEL)
            (outcome,) = self._race([job], rounds)
            yield benchmark_results.growth_row(outcome, rounds)

    def startup(self) -> Iterator[Row]:
        """Time from the start of a program to its first finished round."""
        from tffcxr.benchmarks.benchmark_results import startup_row

        for model in self._plan.models:
            size = self._plan.image_sizes[model]
            store = self._store(size, 2, 2 * self._plan.batch_size, model)
            starts: dict[str, list[Outcome]] = {engine: [] for engine in self._plan.engines}
            for _ in range(1 if FLAGS.quick else min(3, self._plan.repetitions)):
                for engine, outcomes in starts.items():
                    outcomes += self._race([self._job(engine, store, size, 2, model)], [1])
            for outcomes in starts.values():
                yield startup_row(outcomes)

    def pipeline(self) -> Iterator[Row]:
        """Images per second of the input pipeline alone, plain and with augmentation."""
        from tffcxr.benchmarks.benchmark_results import row

        for size in sorted(set(self._plan.image_sizes.values())):
            store = self._store(size, 2, 512 if not FLAGS.quick else 128)
            plain = self._job("pipeline", store, size, 2, None)
            jobs = [plain, dataclasses.replace(plain, augment=True)]
            for outcome in self._race(jobs, [1] * self._plan.repetitions):
                what = "pipeline, augmented" if outcome.job.augment else "pipeline"
                yield row(what, outcome)

    def prepare(self) -> Iterator[Row]:
        """Images per second from DICOM files to shards, against a plain loop."""
        from tffcxr.benchmarks.benchmark_results import row

        images = tuple(self._records["image"])
        jobs = [
            dataclasses.replace(
                self._job(engine, None, self._plan.prepared_size, 0, None), images=images
            )
            for engine in ("prepare", "pydicom")
        ]
        ours, loop = self._race(jobs, [1] * self._plan.repetitions)
        ratio = round(ours.speed / loop.speed, 3) if ours.speed and loop.speed else None
        yield row("prepare", ours, ratio_to_plain_loop=ratio, images=len(images))
        yield row("prepare, plain loop", loop, images=len(images))

    def _rounds_between_looks(self) -> list[int]:
        """Looks after round 50 (or a tenth), then every tenth of the rounds."""
        first = min(50, max(2, self._plan.rounds // 2))
        rest = self._plan.rounds - first
        step = max(1, rest // 9)
        looks = [first - 1, *[step] * (rest // step)]
        looks[-1] += self._plan.rounds - 1 - sum(looks)
        return looks

    def _race(self, jobs: list[Job], rounds: Sequence[int]) -> list[Outcome]:
        from tffcxr.benchmarks import benchmark_process

        described = {(j.model, j.image_size, j.clients) for j in jobs}
        for model, size, clients in sorted(described, key=str):
            _note(f"{model or 'images'} at {size} px, {clients or 'no'} clients")
        return benchmark_process.race(jobs, rounds, self._log, _note)

    def _job(
        self, engine: str, store: str | None, size: int, clients: int, model: str | None
    ) -> Job:
        from tffcxr.benchmarks.benchmark_engines import Job

        return Job(
            engine=engine,
            clients=clients,
            model=model,
            image_size=size,
            batch_size=self._plan.batch_size,
            seed=self._plan.seed,
            store=store or "",
        )

    def _store(self, size: int, clients: int, images: int, model: str | None = None) -> str:
        """The folder of shards of `clients` clients with `images` images each.

        Clients may share images, since there are fewer. For a segmentation model, the annotated
        opacities are the masks.
        """
        from tffcxr.clients.shards.preparation import ShardSpec, prepare

        records = {}
        for client in range(clients):
            rows = [(client * images + i) % len(self._records) for i in range(images)]
            table = self._records.iloc[rows].reset_index(drop=True)
            records[f"client_{client:03d}"] = table.assign(split="train")
        spec = ShardSpec(size, (_FINDING,), with_mask=model in options.SEGMENTERS)
        return str(prepare(records, spec, self._scratch / "cache").root)


if __name__ == "__main__":
    command_line.run(main)
