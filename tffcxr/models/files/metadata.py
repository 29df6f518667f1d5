"""What a program needs to know to use an exported model: JSON beside the model's `.keras` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import json
import math
import pathlib
from typing import Any

from tffcxr import options
from tffcxr.errors import InputError

FORMAT_VERSION = 2
# What a model is asked, as in `tffcxr.report.kinds.kinds`.
FINDINGS, CLASSES, MASKS, VOLUMES = KINDS = ("findings", "classes", "masks", "volumes")
PIXELS = "float32 [B, S, S, 1] in 0..1, higher = denser"
# What comes out of the model, by kind.
_OUTPUTS = {
    FINDINGS: "probabilities [B, outputs], each of its own",
    CLASSES: "probabilities [B, outputs], which add up to 1",
    MASKS: "probabilities [B, S, S, 1]",
    VOLUMES: "probabilities [B, S, S, 1]",
}
_IMAGES = {MASKS: "radiographs", VOLUMES: "slices of volumes"}
_LARGEST_IMAGE = 4096  # Pixels a side.
_MOST_CHANNELS = 64
_MAXIMUM_CHARACTERS = 16 << 20
_TEXTS = ("recipe", "network", "training", "pixels")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What an exported model takes, what it gives, and where it comes from.

    Attributes:
      kind: one of `KINDS`.
      outputs: the names of the findings or classes in order, or of the one region.
      image_size: height and width of the input in pixels.
      fit: how an image that is not square is fitted to the input, one of `options.FITS`.
      recipe: the program that trained the model.
      network: its architecture.
      phantoms: whether it was trained on phantoms only, so that it knows no real image.
      channels: of the input.
      training: how it was trained, as in `metrics.json`.
      pixels: what the input is, in words.
      cut_out: whether the input is black outside of the lungs.
      number: the model's place among the exported ones of its run, from 1; the folder of the run
        stands for the first. Models of different sites that share a place are equally good.
      threshold: of masks and volumes: the probability above 0 and below 1 at or above which a pixel
        is in the region; otherwise None.
      operating_points: finding -> probability at or above which it is called present; NaN where
        none could be chosen. May leave findings out; empty for other kinds.
      gradcam_layers: finding or class -> layer to explain it with; empty for other kinds.
      calibration: finding or class -> how its probability was scaled on validation images, as in
        `metrics.json`; the scaling is in the model's weights already. May leave outputs out.
      trained_on: what the training images were: "sources", the loaders and how many images each
        gave; "modalities", as in DICOM, "views", where the sources say them; and "elsewhere", true
        if other hospitals' images, which are not counted, were among them; "attack", the kind of
        attack on it that was rehearsed, or "none". Empty for older models.
      slices: of volumes: what a slice of each node is; see `SliceSpec.describe`. Otherwise empty.
    """

    kind: str
    outputs: tuple[str, ...]
    image_size: int
    fit: str
    recipe: str
    network: str
    phantoms: bool
    channels: int = 1
    training: str = "federated"
    pixels: str = PIXELS
    cut_out: bool = False
    number: int = 1
    threshold: float | None = None
    operating_points: Mapping[str, float] = dataclasses.field(default_factory=dict)
    gradcam_layers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    calibration: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    trained_on: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    slices: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def marks_pixels(self) -> bool:
        """Whether the model gives a probability of each pixel, not of each image."""
        return self.kind in (MASKS, VOLUMES)

    @property
    def about(self) -> str:
        """The model in a few words for messages."""
        names = ", ".join(self.outputs)
        if self.marks_pixels:
            return f"a model that marks {names} in {_IMAGES[self.kind]}"
        return f"a model of the {self.kind} {names}"

    def check_takes_radiographs(self) -> None:
        """Checks that the model takes radiographs as they are in files.

        Raises:
          InputError: it takes slices of volumes, or images whose lungs are cut out.
        """
        if self.kind == VOLUMES:
            raise InputError(
                f"expected a model of radiographs, found {self.about}: it takes prepared slices, "
                "as its metadata describe them"
            )
        if self.cut_out:
            raise InputError(
                f"expected a model of whole radiographs, found {self.about}, which takes images "
                "that are black outside of the lungs"
            )

    def check_marks_lungs(self) -> None:
        """Raises InputError unless the model segments lungs in radiographs."""
        if self.kind != MASKS or self.outputs[0].lower() != "lungs":
            raise InputError(f"expected a model that segments lungs, found {self.about}")

    def check(self) -> None:
        """Raises ValueError if a value is not what the class says; the values may be of a file."""
        if self.kind not in KINDS:
            raise ValueError(f"expected a kind of {', '.join(KINDS)}, found {self.kind!r:.60}")
        _check_names(self.outputs, one=self.marks_pixels)
        _check_whole("image_size", self.image_size, _LARGEST_IMAGE)
        _check_whole("channels", self.channels, _MOST_CHANNELS)
        _check_whole("number", self.number, 1 << 20)
        if self.kind != VOLUMES and self.channels != 1:
            raise ValueError(f"expected a model of images with 1 channel, found {self.channels}")
        if self.fit not in options.FITS:
            raise ValueError(f"fit must be {' or '.join(options.FITS)}, found {self.fit!r:.60}")
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"expected a text as {name}, found {getattr(self, name)!r:.60}")
        for name in ("phantoms", "cut_out"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"expected true or false as {name}, found {getattr(self, name)!r}")
        self._check_thresholds()
        calibrated = self.calibration
        is_object = all(isinstance(value, Mapping) for value in calibrated.values())
        if not is_object or not set(calibrated) <= set(self.outputs):
            raise ValueError(
                f"expected the calibration of some of {self.outputs}, found {calibrated!s:.60}"
            )
        self._check_trained_on()
        layers = self.gradcam_layers
        wanted = () if self.marks_pixels else self.outputs
        if set(layers) != set(wanted) or not all(isinstance(v, str) for v in layers.values()):
            raise ValueError(f"expected a Grad-CAM layer for each of {wanted}, found {layers}")

    @property
    def is_attacked(self) -> bool:
        """Whether hostile clients took part in its training, as a rehearsal."""
        return self.trained_on.get("attack", "none") != "none"

    def _check_thresholds(self) -> None:
        value, points = self.threshold, self.operating_points
        if self.marks_pixels and not (isinstance(value, float) and 0 < value < 1):
            raise ValueError(f"expected a threshold between 0 and 1, found {value!r:.60}")
        if not self.marks_pixels and value is not None:
            raise ValueError(f"expected no threshold for {self.kind}, found {value!r:.60}")
        unknown = sorted(set(points) - set(self.outputs if self.kind == FINDINGS else ()))
        if unknown:
            raise ValueError(f"expected no operating points of {', '.join(unknown)!s:.60}")
        if not all(isinstance(point, float) for point in points.values()):
            raise ValueError(f"expected numbers as operating points, found {points!s:.60}")

    def _check_trained_on(self) -> None:
        sources = self.trained_on.get("sources", {})
        texts = [self.trained_on.get(name, []) for name in ("modalities", "views")]
        fits = isinstance(sources, Mapping) and all(type(n) is int for n in sources.values())
        fits = fits and isinstance(self.trained_on.get("attack", ""), str)
        for values in texts:
            fits = fits and isinstance(values, list) and all(isinstance(v, str) for v in values)
        if not fits:
            raise ValueError(
                "expected counts of images by source, and lists of modalities and views, as "
                f"trained_on, found {dict(self.trained_on)!s:.60}"
            )

    def to_json(self) -> dict[str, Any]:
        """The values of the file; an operating point that is NaN becomes None."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        points = self.operating_points.items()
        return {
            "format_version": FORMAT_VERSION,
            **values,
            "outputs": list(self.outputs),
            "gives": _OUTPUTS[self.kind],
            "operating_points": {
                name: float(point) if math.isfinite(point) else None for name, point in points
            },
            "gradcam_layers": dict(self.gradcam_layers),
            "calibration": {name: dict(about) for name, about in self.calibration.items()},
            "trained_on": dict(self.trained_on),
            "slices": dict(self.slices),
        }


def read(path: pathlib.Path) -> Metadata:
    """Reads the metadata of the model in `path`.

    Raises:
      InputError: there are none, they are not those of an exported model, or of another version.
    """
    file = path.with_suffix(".json")
    # Older models were not calibrated, and do not say what they were trained on.
    data = {"calibration": {}, "trained_on": {}, **_read_json(file)}
    found = data.get("format_version", "none")
    if found != FORMAT_VERSION:
        raise InputError(
            f"{file}: expected format version {FORMAT_VERSION}, found {found!s:.60}: run the study "
            "again, or use the version of this project that exported the model"
        )
    names = [field.name for field in dataclasses.fields(Metadata)]
    missing = [name for name in names if name not in data]
    if missing:
        raise InputError(
            f"{file}: expected {', '.join(missing)} in an exported model's metadata, found nothing "
            "of this name"
        )
    objects = ("operating_points", "gradcam_layers", "calibration", "trained_on")
    for name, kind in (("outputs", list), *((name, dict) for name in objects)):
        if not isinstance(data[name], kind):
            raise InputError(
                f"{file}: expected an exported model's metadata, found {data[name]!r:.60} as {name}"
            )
    values = {name: data[name] for name in names}
    values["outputs"] = tuple(data["outputs"])
    values["operating_points"] = {
        name: math.nan if point is None else point
        for name, point in data["operating_points"].items()
    }
    metadata = Metadata(**values)
    try:
        metadata.check()
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
    return metadata


def _read_json(file: pathlib.Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MAXIMUM_CHARACTERS + 1)
        if len(text) > _MAXIMUM_CHARACTERS:
            raise InputError(f"{file}: expected metadata of at most {_MAXIMUM_CHARACTERS} letters")
        data = json.loads(text)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"expected an exported model's metadata, found no file {file}") from error
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file}: expected an exported model's metadata: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"{file}: expected an exported model's metadata, found {str(data)[:40]}")
    return data


def _check_names(names: Sequence[Any], one: bool) -> None:
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"expected the names of the outputs, found {names!r:.60}")
    if len(set(names)) != len(names):
        raise ValueError(f"expected different names of the outputs, found {', '.join(names):.60}")
    if one and len(names) != 1:
        raise ValueError(f"expected the name of one region, found {', '.join(names):.60}")


def _check_whole(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"expected {name} to be from 1 to {most}, found {value!r:.60}")
