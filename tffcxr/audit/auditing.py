"""One audit: a run, attacked under each protection, and what came of it.

run → updates as they are seen → inversion, class mix; models trained under protections → membership
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import functools
import hashlib
import itertools
import pathlib
import sys
from typing import Any

import numpy as np

from tffcxr.audit import inversion, memberships, properties
from tffcxr.audit.audited_run import AuditedRun, Images
from tffcxr.audit.seen import Protection, Round
from tffcxr.audit.wanted import INITIAL, Wanted
from tffcxr.errors import InputError
from tffcxr.evaluation import undefined
from tffcxr.files import write_atomically
from tffcxr.report.audit_page import Found, Pictures

ONE_STEP, ONE_EPOCH = "one step", "one epoch"
# An update of more images is inverted for so many; an attacker with more time looks for all.
MOST_IMAGES = 8
_OF_PRIOR, _LINE_UP = 600, 99
_MIX = 16  # Images of an update whose class mix is inferred.


@dataclasses.dataclass(frozen=True)
class _Inverted:
    """What came of the inversion of one update.

    Attributes:
      found: the images, float32 [R, S, S, 1].
      paired: the original of each.
      images: that made the update.
      likeness: of both.
      guess: likeness of what the attacker says without any update.
      places: of each original in a line-up; NaN where only some of many images were sought.
    """

    found: np.ndarray
    paired: np.ndarray
    images: int
    likeness: inversion.Likeness
    guess: inversion.Likeness
    places: np.ndarray


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
        run, protections = self._run, self._usable
        return Found(
            about=f"A run of {run.recipe} with the network {run.plan.model.network}. The attacked "
            f"client is {self._attacked} with {len(self._own)} training images.",
            weights=self._wanted.weights,
            most=MOST_IMAGES,
            protections={
                each.name: (each.title, each.view(len(run.clients))) for each in protections
            },
            inversion=[row for row, _ in inverted],
            membership=list(
                memberships.rows(
                    run,
                    Images.join([self._own, *self._elsewhere]),
                    protections,
                    self._folder / "trained",
                    self._wanted,
                )
            ),
            properties=mixes,
            pictures=[shown for _, shown in inverted],
            remarks=self._remarks,
            settings=dataclasses.asdict(self._wanted),
        )

    def _inversions(self) -> Iterator[tuple[dict[str, Any], Pictures]]:
        attack = self._attack()
        tests = Images.join([self._run.images(c, "test", _LINE_UP) for c in self._run.clients])
        line_up = tests.pixels[:_LINE_UP]
        for steps, batch in itertools.product((ONE_STEP, ONE_EPOCH), self._wanted.batches):
            for protection in self._usable:
                case = f"{steps}, batch {batch}"
                cases = [
                    self._inverted_update(attack, protection, steps, batch, repeat, line_up)
                    for repeat in range(self._repeats(steps, batch))
                ]
                row = {
                    "steps": steps,
                    "batch": batch,
                    "protection": protection.name,
                    "updates": len(cases),
                    "images_in_update": cases[0].images,
                    "images_sought": len(cases[0].found),
                    "psnr": float(np.mean([each.likeness.psnr for each in cases])),
                    "ssim": float(np.mean([each.likeness.ssim for each in cases])),
                    "psnr_of_guess": float(np.mean([each.guess.psnr for each in cases])),
                    "ssim_of_guess": float(np.mean([each.guess.ssim for each in cases])),
                    "place_in_line_up": float(np.median([n for c in cases for n in c.places])),
                    "line_up": len(line_up) + 1,
                }
                shown = Pictures(
                    case,
                    protection.title,
                    _grey(np.concatenate([each.paired for each in cases])[:MOST_IMAGES]),
                    _grey(np.concatenate([each.found for each in cases])[:MOST_IMAGES]),
                )
                yield row, shown

    def _repeats(self, steps: str, batch: int) -> int:
        """How many updates are inverted; one epoch is of all images of a client."""
        if steps == ONE_EPOCH:
            return 1
        fewest = min(map(len, [self._own, *self._elsewhere]))
        return min(self._wanted.repeats, fewest // batch)

    def _inverted_update(
        self,
        attack: inversion.Inversion,
        protection: Protection,
        steps: str,
        batch: int,
        repeat: int,
        line_up: np.ndarray,
    ) -> _Inverted:
        """Inverts what is seen of one round.

        Args:
          attack: the attack.
          protection: of the round.
          steps: of each client.
          batch: images of a step.
          repeat: which images of the clients, counted from 0.
          line_up: other people's images, among which the originals are placed.
        """
        members = self._members(protection)
        made = self._round(protection, batch, members)
        sources = [self._own, *self._elsewhere][:members]
        if steps == ONE_STEP:
            place = slice(repeat * batch, (repeat + 1) * batch)
            sources = [each.take(place) for each in sources]
            data = [made.step_on(each) for each in sources]
        else:
            names = self._run.clients[:members]
            data = [self._run.data(batch).train_dataset(name, 1, 1) for name in names]
        originals = Images.join(sources)
        update = made.sees(self._weights, data, repeat + 1)
        title = f"{steps}, batch {batch}, {protection.title}, update {repeat + 1}"
        found = self._inverted(title, attack, update, originals.labels[:MOST_IMAGES])
        likeness = inversion.compare(found, originals.pixels)
        paired = originals.pixels[likeness.originals]
        # Of many images, the best fit is alike by choice: its place would say nothing.
        is_whole = len(originals) == len(found)
        return _Inverted(
            found,
            paired,
            len(originals),
            likeness,
            inversion.compare(attack.guess(len(found)), originals.pixels),
            inversion.ranks(found, paired, line_up) if is_whole else np.array([np.nan]),
        )

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
            _tell(f"inversion, {title}: from an earlier start", is_last=True)
            return np.load(path, allow_pickle=False)

        def tell(done: int, of: int) -> None:
            _tell(f"inversion, {title}: {done}/{of}", is_last=done >= of)

        found = attack.invert(update, labels, tell)
        write_atomically(path, lambda file: np.save(file, found))
        return found

    def _properties(self, column: int) -> Iterator[dict[str, Any]]:
        random = np.random.default_rng([self._wanted.seed, 1])
        elsewhere, count = Images.join(self._elsewhere), self._wanted.updates
        for protection in self._usable:
            members = self._members(protection)
            made = self._round(protection, _MIX, members)
            _tell(f"class mix, {protection.title}", is_last=True)
            # Each update has noise of its own, which the attacker cannot draw again.
            numbers = range(1, count + 1), range(count + 1, 2 * count + 1)
            shadow, shadow_shares = self._mixes(
                made, elsewhere, column, numbers[0], members, random
            )
            updates, shares = self._mixes(made, self._own, column, numbers[1], members, random)
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
        numbers: Sequence[int],
        members: int,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of updates of one step, and the share of images with the finding in each.

        Args:
          made: the round, as it is seen.
          images: from which those of the attacked client are drawn.
          column: the finding.
          numbers: of the rounds, for their noise; one for each update.
          members: clients whose updates are summed.
          random: draws the images.
        """
        labels = images.labels[:, column]
        present, absent = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
        updates, shares = [], []
        for number in numbers:
            many = int(random.integers(_MIX + 1))
            drawn = np.concatenate(
                [random.choice(present, many), random.choice(absent, _MIX - many)]
            )
            data = [made.step_on(images.take(random.permutation(drawn)))]
            for other in self._elsewhere[: members - 1]:
                data.append(made.step_on(other.take(random.choice(len(other), _MIX))))
            updates.append(properties.features(made.sees(self._weights, data, number)))
            shares.append(many / _MIX)
        return np.stack(updates), np.array(shares)

    def _members(self, protection: Protection) -> int:
        """How many clients' updates are in what is seen."""
        return len(self._run.clients) if protection.is_of_sum else 1

    @functools.cached_property
    def _usable(self) -> list[Protection]:
        """The protections that the network can be trained with; of the others, a remark is made."""
        found = []
        for protection in self._wanted.protections:
            try:
                self._round(protection, 1, self._members(protection))
            except InputError as error:
                self._remarks.append(f"{protection.title} is not audited: {error}")
            else:
                found.append(protection)
        return found

    def _round(self, protection: Protection, batch: int, members: int) -> Round:
        # To build one takes seconds, and only the steps of DP-SGD depend on the size of a batch.
        key = protection, batch if protection.noises_steps else 0, members
        if key not in self._rounds:
            self._rounds[key] = Round(self._run, protection, batch, members, self._wanted.seed)
        return self._rounds[key]


def _grey(images: np.ndarray) -> np.ndarray:
    """uint8 [R, S, S] of float32 [R, S, S, C] in 0..1."""
    return np.round(255 * images.mean(axis=-1)).astype(np.uint8)


def _tell(line: str, is_last: bool) -> None:
    """Reports progress, in one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{line}", end="\n" if is_last else "", file=sys.stderr, flush=True)
    elif is_last:
        print(line, file=sys.stderr, flush=True)
