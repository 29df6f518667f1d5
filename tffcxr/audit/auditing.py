"""One audit: a run, attacked under each protection, and what came of it.

run → updates as they are seen → inversion, class mix; models trained under protections → membership
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
import dataclasses
import hashlib
import itertools
import pathlib
import sys
from typing import Any

import numpy as np

from tffcxr.audit import inversion, membership, properties, protected_training
from tffcxr.audit.audited_run import AuditedRun, Images
from tffcxr.audit.seen import DP_SGD, Protection, Round
from tffcxr.errors import InputError
from tffcxr.evaluation import undefined
from tffcxr.files import write_atomically
from tffcxr.report.audit_page import UNTRAINED, Found, Pictures

INITIAL, FINAL = "initial", "final"
ONE_STEP, ONE_EPOCH = "one step", "one epoch"
# An update of more images is inverted for so many; an attacker with more time looks for all.
MOST_IMAGES = 8
_OF_PRIOR, _LINE_UP = 600, 99
_MIX = 16  # Images of an update whose class mix is inferred.
_MOST_MEMBERS = 2000


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Attributes:
      batches: images of a step, for gradient inversion.
      weights: "initial" or "final", at which updates are made.
      iterations: of gradient inversion.
      restarts: of gradient inversion.
      updates: whose class mix is inferred, and as many of the attacker's own.
      protections: which, "nothing" first.
      rounds: of the models whose members are inferred; None for those of the run.
      replicates: of the bootstrap.
      seed: of everything random.
    """

    batches: Sequence[int]
    weights: str
    iterations: int
    restarts: int
    updates: int
    protections: Sequence[Protection]
    rounds: int | None
    replicates: int
    seed: int


class Audit:
    """An audit of a run.

    Args:
      run: the run.
      folder: for the results, and for what a later start need not do again.
      wanted: see there.

    Raises:
      InputError: the run has too few clients or images.
    """

    def __init__(self, run: AuditedRun, folder: pathlib.Path, wanted: Wanted) -> None:
        if len(run.clients) < 2:
            raise InputError(
                "--run: expected a run of at least 2 clients, since the images of the others are "
                f"what the attacker learns from, found {len(run.clients)} in {run.folder}"
            )
        self._run, self._folder, self._wanted = run, folder, wanted
        self._attacked, *self._others = run.clients
        self._weights = (
            run.plan.initial_weights() if wanted.weights == INITIAL else run.final_weights
        )
        self._own = run.images(self._attacked, "train")
        self._elsewhere = [run.images(client, "train") for client in self._others]
        largest = max(wanted.batches)
        if min(map(len, [self._own, *self._elsewhere])) < largest:
            raise InputError(
                f"--batches: expected at most as many images as the smallest client has, found "
                f"{largest}"
            )
        self._remarks: list[str] = []
        self._rounds: dict[tuple[Protection, int, int], Round] = {}

    def all(self) -> Found:
        """Makes every attack.

        Raises:
          InputError: no finding is present and absent at the attacked client and at another.
          loop.TrainingFailed: a training under a protection broke off.
        """
        column = self._column()
        inverted = list(self._inversions())
        mixes = list(self._properties(column))
        run, protections = self._run, self._usable()
        return Found(
            about=f"A run of {run.recipe} with the network {run.plan.model.network}. The attacked "
            f"client is {self._attacked} with {len(self._own)} training images.",
            weights=self._wanted.weights,
            most=MOST_IMAGES,
            protections={
                each.name: (each.title, each.view(len(run.clients))) for each in protections
            },
            inversion=[row for row, _ in inverted],
            membership=list(self._memberships()),
            properties=mixes,
            pictures=[shown for _, shown in inverted],
            remarks=self._remarks,
            settings=dataclasses.asdict(self._wanted),
        )

    def _inversions(self) -> Iterator[tuple[dict[str, Any], Pictures]]:
        attack = self._attack()
        tests = Images.join([self._run.images(c, "test", _LINE_UP) for c in self._run.clients])
        for steps, batch in itertools.product((ONE_STEP, ONE_EPOCH), self._wanted.batches):
            for protection in self._usable():
                members = self._members(protection)
                made = self._round(protection, batch, members)
                sources = [self._own, *self._elsewhere][:members]
                if steps == ONE_STEP:
                    sources = [each.take(slice(batch)) for each in sources]
                    data = [made.step_on(each) for each in sources]
                else:
                    names = self._run.clients[:members]
                    data = [self._run.data(batch).train_dataset(name, 1, 1) for name in names]
                originals = Images.join(sources)
                update = made.sees(self._weights, data, 1)
                case = f"{steps}, batch {batch}"
                found = self._inverted(
                    f"{case}, {protection.title}", attack, update, originals.labels[:MOST_IMAGES]
                )
                likeness = inversion.compare(found, originals.pixels)
                paired = originals.pixels[likeness.originals]
                shown = Pictures(case, protection.title, _grey(paired), _grey(found))
                guess = inversion.compare(attack.guess(len(found)), originals.pixels)
                # Of many images, the best fit is alike by choice: its place would say nothing.
                place = np.nan
                if len(originals) == len(found):
                    places = inversion.ranks(found, paired, tests.pixels[:_LINE_UP])
                    place = float(np.median(places))
                row = {
                    "steps": steps,
                    "batch": batch,
                    "protection": protection.name,
                    "images_in_update": len(originals),
                    "images_sought": len(found),
                    "psnr": likeness.psnr,
                    "ssim": likeness.ssim,
                    "psnr_of_guess": guess.psnr,
                    "ssim_of_guess": guess.ssim,
                    "place_in_line_up": place,
                    "line_up": len(tests.pixels[:_LINE_UP]) + 1,
                }
                yield row, shown

    def _attack(self) -> inversion.Inversion:
        """Gradient inversion at the weights of the audit."""
        wanted, plan = self._wanted, self._run.plan
        others = Images.join(self._elsewhere).pixels
        chosen = np.random.default_rng(wanted.seed).permutation(len(others))[:_OF_PRIOR]
        model = plan.model.measuring_model().keras
        model.set_weights(self._weights)
        return inversion.Inversion(
            model,
            self._round(wanted.protections[0], 1, 1).shared,
            plan.loss_fn,
            plan.optimizer,
            plan.stages[0].schedule.learning_rate,
            inversion.Prior.of(others[chosen]),
            wanted.iterations,
            wanted.restarts,
            wanted.seed,
        )

    def _inverted(
        self, title: str, attack: inversion.Inversion, update: list[np.ndarray], labels: np.ndarray
    ) -> np.ndarray:
        """What an attack finds; read from the folder where an earlier start has found it."""
        wanted = self._wanted
        digest = hashlib.sha256(repr((wanted.iterations, wanted.restarts, wanted.seed)).encode())
        for part in (*update, labels, *self._weights):
            digest.update(np.ascontiguousarray(part).tobytes())
        path = self._folder / "found" / f"{digest.hexdigest()[:20]}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)

        def tell(done: int, of: int) -> None:
            _tell(f"inversion, {title}: {done}/{of}", is_last=done >= of)

        found = attack.invert(update, labels, tell)
        write_atomically(path, lambda file: np.save(file, found))
        return found

    def _properties(self, column: int) -> Iterator[dict[str, Any]]:
        random = np.random.default_rng([self._wanted.seed, 1])
        elsewhere, count = Images.join(self._elsewhere), self._wanted.updates
        for protection in self._usable():
            members = self._members(protection)
            made = self._round(protection, _MIX, members)
            _tell(f"class mix, {protection.title}", is_last=True)
            shadow, shadow_shares = self._mixes(made, elsewhere, column, count, members, random)
            updates, shares = self._mixes(made, self._own, column, count, members, random)
            with undefined.named(f"class mix under {protection.title}"):
                found = properties.measure(
                    shadow, shadow_shares, updates, shares, self._wanted.replicates,
                    self._wanted.seed,
                )  # fmt: skip
            yield {
                "protection": protection.name,
                "finding": self._run.store.spec.findings[column],
                "updates": count,
                "images_in_update": _MIX * members,
                **dataclasses.asdict(found),
            }

    def _column(self) -> int:
        """The first finding that the attacked client and the others have with and without."""
        for column in range(self._own.labels.shape[1]):
            if all(
                {0.0, 1.0} <= set(each.labels[:, column])
                for each in (self._own, Images.join(self._elsewhere))
            ):
                return column
        raise InputError(
            f"--run: expected a finding that is present and absent at {self._attacked} and at "
            "another client, found none"
        )

    def _mixes(
        self,
        made: Round,
        images: Images,
        column: int,
        count: int,
        members: int,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of updates of one step, and the share of images with the finding in each."""
        labels = images.labels[:, column]
        present, absent = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        updates, shares = [], []
        for number in range(count):
            many = int(random.integers(_MIX + 1))
            drawn = np.concatenate(
                [random.choice(present, many), random.choice(absent, _MIX - many)]
            )
            data = [made.step_on(images.take(random.permutation(drawn)))]
            for other in self._elsewhere[: members - 1]:
                data.append(made.step_on(other.take(random.choice(len(other), _MIX))))
            updates.append(properties.features(made.sees(self._weights, data, number + 1)))
            shares.append(many / _MIX)
        return np.stack(updates), np.array(shares)

    def _memberships(self) -> Iterator[dict[str, Any]]:
        run, wanted = self._run, self._wanted
        others = Images.join([run.images(client, "test") for client in run.clients])
        members = _alike(
            Images.join([self._own, *self._elsewhere]),
            others,
            np.random.default_rng([wanted.seed, 2]),
        )
        patients = np.concatenate([members.patients, others.patients])
        model = run.plan.model.measuring_model().keras
        # A private task block is of the client; that of the first one stands for all.
        before = [
            membership.losses(model, run.plan.initial_weights(), run.plan.loss_fn, images)
            for images in (members, others)
        ]
        rounds = wanted.rounds or run.plan.rounds
        about = {"members": len(members), "others": len(others)}
        with undefined.named("membership before any training"):
            control = membership.measure(
                before[0], before[1], patients, wanted.replicates, wanted.seed
            )
        yield {
            "protection": UNTRAINED,
            "attack": "loss",
            **about,
            "rounds": 0,
            "utility_name": "",
            "utility": np.nan,
            "epsilon": 0.0,
            **dataclasses.asdict(control),
        }
        for protection in self._usable():
            trained = protected_training.train(
                run, protection, rounds, self._folder / "trained", wanted.seed
            )
            after = [
                membership.losses(model, trained.weights, run.plan.loss_fn, images)
                for images in (members, others)
            ]
            for name, of_members, of_others in (
                ("loss", *after),
                ("calibrated", *(now - then for now, then in zip(after, before))),
            ):
                with undefined.named(f"membership under {protection.title}"):
                    found = membership.measure(
                        of_members, of_others, patients, wanted.replicates, wanted.seed
                    )
                yield {
                    "protection": protection.name,
                    "attack": name,
                    **about,
                    "rounds": rounds,
                    "utility_name": trained.utility_name,
                    "utility": trained.utility,
                    "epsilon": trained.epsilon,
                    **dataclasses.asdict(found),
                }

    def _members(self, protection: Protection) -> int:
        """How many clients' updates are in what is seen."""
        return len(self._run.clients) if protection.is_of_sum else 1

    def _usable(self) -> list[Protection]:
        """The protections that the network can be trained with."""
        found = []
        for protection in self._wanted.protections:
            try:
                self._round(protection, 1, self._members(protection))
            except InputError as error:
                remark = f"{protection.title} is not audited: {error}"
                if remark not in self._remarks:
                    self._remarks.append(remark)
            else:
                found.append(protection)
        return found

    def _round(self, protection: Protection, batch: int, members: int) -> Round:
        # To build one takes seconds, and only the steps of DP-SGD depend on the size of a batch.
        key = protection, batch if protection.name == DP_SGD else 0, members
        if key not in self._rounds:
            self._rounds[key] = Round(self._run, protection, batch, members, self._wanted.seed)
        return self._rounds[key]


def _alike(members: Images, others: Images, random: np.random.Generator) -> Images:
    """Members in the mix of labels of the others, about `_MOST_MEMBERS` of them at most.

    Where members have the finding more often than others, its loss would tell them apart.
    """
    wanted = collections.Counter(map(_key, others.labels))
    places: dict[bytes, list[int]] = collections.defaultdict(list)
    for place in random.permutation(len(members)):
        places[_key(members.labels[place])].append(int(place))
    times = min(
        (len(places[key]) / count for key, count in wanted.items() if places[key]), default=0.0
    )
    times = min(times, _MOST_MEMBERS / max(1, len(others)))
    chosen = [place for key, n in wanted.items() for place in places[key][: round(times * n)]]
    return members.take(np.array(sorted(chosen), int))


def _key(labels: np.ndarray) -> bytes:
    """Equal for equal labels, also where some are unknown."""
    return np.nan_to_num(labels, nan=-1.0).tobytes()


def _grey(images: np.ndarray) -> np.ndarray:
    """uint8 [R, S, S] of float32 [R, S, S, C] in 0..1."""
    return np.round(255 * images.mean(axis=-1)).astype(np.uint8)


def _tell(line: str, is_last: bool) -> None:
    """Reports progress, in one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{line}", end="\n" if is_last else "", file=sys.stderr, flush=True)
    elif is_last:
        print(line, file=sys.stderr, flush=True)
