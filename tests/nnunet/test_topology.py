"""The network for a patch: published examples, and sizes counted by hand."""

import pytest

from tffcxr.nnunet.topology import Topology, topology


def test_a_square_patch_is_halved_to_four_pixels():
    found = topology((1, 1), (512, 512))
    assert found.patch_size == (512, 512)
    assert found.strides == ((1, 1), *[(2, 2)] * 7)
    assert found.kernel_sizes == ((3, 3),) * 8
    assert found.features == (32, 64, 128, 256, 512, 512, 512, 512)
    assert found.sizes[-1] == (4, 4)


def test_patches_are_padded():
    # 21 → 11 → 6: two halvings. 50 → 25 → 13 → 7: three.
    found = topology((1, 1), (21, 50))
    assert found.strides == ((1, 1), (2, 2), (2, 2), (1, 2))
    assert found.patch_size == (24, 56)
    assert found.multiple == (4, 8)


def test_a_single_axis_needs_twelve_pixels():
    # Rows are at 4 after three; columns would be 8 → 4, which alone is not worth a stage.
    assert len(topology((1, 1), (32, 64)).strides) == 4
    assert len(topology((1, 1), (32, 96)).strides) == 5


def test_a_coarse_axis_waits_with_kernels_of_one():
    found = topology((4, 1), (64, 256))
    # Columns alone until their spacing is 4; then both.
    assert found.strides[:4] == ((1, 1), (1, 2), (1, 2), (2, 2))
    assert found.kernel_sizes[:3] == ((1, 3), (1, 3), (3, 3))


def test_the_size_of_maps_by_hand():
    small = Topology((8, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (2, 5))
    encoder = 2 * 2 * 64 + 2 * 5 * 16
    decoder = 2 * 2 * 64 + 2 * 64  # Two convolutions and one transposed.
    assert small.feature_map_size(3) == encoder + decoder + 3 * 64


def test_nnu_nets_reference():
    # "83252480" beside the constant 85000000 in nnunetv2's planner is of an older rule; with this
    # one the reference patch of 512x512 gives a batch of 12, as the constants intend.
    size = topology((1, 1), (512, 512)).feature_map_size(2)
    assert round(85_000_000 / size * 12) == 12


def test_parameters_by_hand():
    small = Topology((8, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (2, 5))
    encoder = (9 * 1 * 2 + 2) + (9 * 2 * 2 + 2) + (9 * 2 * 5 + 5) + (9 * 5 * 5 + 5)
    norms = 2 * (2 + 2 + 5 + 5) + 2 * (2 + 2)
    decoder = (4 * 5 * 2 + 2) + (9 * 4 * 2 + 2) + (9 * 2 * 2 + 2)
    head = 2 * 3 + 3
    assert small.parameters(1, 3) == encoder + norms + decoder + head


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="halved"):
        topology((1, 1), (7, 7))
    with pytest.raises(ValueError, match="multiple of 2"):
        Topology((9, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (2, 5))
    with pytest.raises(ValueError, match="without stride"):
        Topology((8, 8), ((2, 2), (2, 2)), ((3, 3), (3, 3)), (2, 5))
    with pytest.raises(ValueError, match="two or more stages"):
        Topology((8, 8), ((1, 1), (2, 2)), ((3, 3),), (2, 5))
