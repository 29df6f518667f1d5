"""How far an image is from others: by hand, against SciPy, and on what it must tell apart."""

import numpy as np
import pytest
from scipy.spatial import distance

from tffcxr.datasets.imaging import likeness
from tffcxr.errors import InputError
from tffcxr.studies import training_images


def _chests(count, seed=0):
    """Two dark ovals on a bright gradient, which lie and shine a little differently each."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :32] / 31.0
    found = []
    for _ in range(count):
        top, side, bright = rng.normal([0.45, 0.28, 180], [0.02, 0.01, 8])
        square = bright * (0.6 + 0.4 * rows)
        for middle in (side, 1 - side):
            square[((rows - top) / 0.3) ** 2 + ((columns - middle) / 0.15) ** 2 < 1] *= 0.4
        found.append(square + rng.normal(0, 4, square.shape))
    return np.clip(np.stack(found), 0, 255).astype(np.uint8)


@pytest.fixture(name="like", scope="module")
def _like():
    return training_images.fit(likeness.describe(_chests(150)), np.arange(150) % 5)


def test_the_distance_is_that_of_mahalanobis():
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(4, 4))
    precision, mean, vectors = mixed @ mixed.T, rng.normal(size=4), rng.normal(size=(3, 4))
    found = likeness.mahalanobis(vectors, mean, precision)
    expected = [distance.mahalanobis(vector, mean, precision) / 2 for vector in vectors]
    np.testing.assert_allclose(found, expected)


def test_the_vectors_of_a_constant_image_are_known():
    found = likeness.describe(np.full((1, 16, 16), 51, np.uint8))
    energy = [np.log(1e-3)] * 3  # No detail at any scale.
    np.testing.assert_allclose(found["layout"], [[0.2] * 64 + energy + [0.2] * 7])
    np.testing.assert_allclose(found["texture"], [energy + [0.2] * 7 + [0.0, 0.0]])


def test_one_percent_of_the_images_that_were_left_out_are_beyond_the_limit(like):
    assert np.mean(like.distances(_chests(400, seed=1)) > 1) < 0.06


def test_other_images_are_beyond_the_limit(like):
    rng = np.random.default_rng(2)
    chests = _chests(20, seed=3)
    others = {
        "noise": rng.integers(0, 256, (20, 32, 32)).astype(np.uint8),
        "constant": np.full((1, 32, 32), 128, np.uint8),
        "inverted": 255 - chests,
        "rotated": np.rot90(chests, axes=(1, 2)),
        "upside down": chests[:, ::-1, ::-1],
    }
    found = {name: float(np.mean(like.distances(x) > 1)) for name, x in others.items()}
    assert found == dict.fromkeys(others, 1.0)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda square: 255 - square, "its grey is inverted"),
        (lambda square: np.rot90(square, 1), "it is rotated by 90 degrees"),
        (lambda square: np.rot90(square, 2), "it is upside down"),
    ],
)
def test_a_mistake_is_named(like, change, what):
    square = next(x for x in _chests(9, seed=4) if like.distances(x[None])[0] < 0.9)
    assert like.mistake(np.ascontiguousarray(change(square))) == what


def test_noise_is_no_mistake(like):
    assert (
        like.mistake(np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)) is None
    )


def test_what_is_written_is_read(like, tmp_path):
    path = likeness.file_of(tmp_path / "m.keras")
    likeness.write(path, like)
    assert path.name == "m.images.npz"
    read = likeness.read(path)
    squares = _chests(3, seed=5)
    assert read.images == 150
    np.testing.assert_array_equal(read.distances(squares), like.distances(squares))


def test_statistics_of_volumes_are_read_by_node_and_channel(like, tmp_path):
    path = tmp_path / "m.images.npz"
    other = likeness.Likeness(7, like.parts)
    # The node between has too few.
    likeness.write_slices(path, {"a": 2, "b": 2, "c": 2}, {"a": (like, other), "c": (other, like)})
    read = likeness.read_slices(path, {"a": 2, "b": 2, "c": 2})
    assert {node: [one.images for one in found] for node, found in read.items()} == {
        "a": [150, 7],
        "c": [7, 150],
    }
    with pytest.raises(InputError, match=r"shape \(\) as 0_2_layout_limit"):
        likeness.read_slices(path, {"a": 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": np.array(2)}, "in version 1, found 2"),
        ({"layout_mean": np.zeros(3)}, r"shape \(74,\) as layout_mean"),
        (
            {"texture_precision": np.full((12, 12), np.nan)},
            "finite numbers .* as texture_precision",
        ),
        ({"layout_limit": np.array(0.0)}, "a limit above 0 as layout_limit, found 0"),
        ({"images": np.array("x")}, "as images"),
        (None, "expected an intact .npz file"),
    ],
)
def test_damaged_files_are_named(like, tmp_path, change, message):
    path = tmp_path / "m.images.npz"
    if change is None:
        path.write_bytes(b"nothing")
    else:
        likeness.write(path, like)
        with np.load(path) as arrays:
            np.savez(path, **{**arrays, **change})
    with pytest.raises(InputError, match=message) as raised:
        likeness.read(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
