"""`--weights=[NETWORK=]WEIGHTS`: for one network or for all, once each, and there."""

from absl import flags
import pytest

from experiments.flags import training_flags, weights_flag
from tffcxr.errors import InputError


@pytest.fixture
def parse(monkeypatch):
    """Reads a command line of a recipe of two networks, with a third that is pooled."""

    def parsed(*words):
        values = flags.FlagValues()
        flags.DEFINE_flag(weights_flag.flag(), values)
        flags.DEFINE_list("model", ["resnet50", "densenet121"], "", values)
        flags.DEFINE_list("central", ["resnet34:adam:0.01"], "", values)
        flags.DEFINE_string("baseline", "none", "", values)
        flags.DEFINE_float("width", 1.0, "", flag_values=values)
        values(["recipe", *words])
        monkeypatch.setattr(weights_flag, "FLAGS", values)
        return values

    return parsed


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files in the folder in which the program is started; a name may have "," and "="."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.h5", "b.h5", "rate=0.1,b.h5"):
        (tmp_path / name).write_bytes(name.encode())


@pytest.mark.parametrize(
    ("words", "value", "resnet50", "densenet121"),
    [
        ([], "none", "none", "none"),
        (["--weights=imagenet"], "imagenet", "imagenet", "imagenet"),
        (["--weights=resnet50=a.h5"], "resnet50=a.h5", "a.h5", "none"),
        (["--weights=imagenet,resnet50=none"], "imagenet,resnet50=none", "none", "imagenet"),
        (
            ["--weights=resnet50=a.h5", "--weights=densenet121=b.h5"],
            "resnet50=a.h5,densenet121=b.h5",
            "a.h5",
            "b.h5",
        ),
        # As a preset's, and then the user's.
        (["--weights=imagenet", "--weights=a.h5"], "a.h5", "a.h5", "a.h5"),
        (
            ["--weights=imagenet", "--weights=resnet50=a.h5", "--weights=none"],
            "resnet50=a.h5,none",
            "a.h5",
            "none",
        ),
        (["--weights=rate=0.1,b.h5"], "rate=0.1,b.h5", "rate=0.1,b.h5", "rate=0.1,b.h5"),
    ],
)
def test_each_network_has_its_own_or_those_for_all(
    parse, files, words, value, resnet50, densenet121
):
    assert parse(*words).weights == value
    weights_flag.check()
    assert weights_flag.of("resnet50") == resnet50
    assert weights_flag.of("densenet121") == densenet121


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights=resnet=a.h5"], "weights of resnet50 or densenet121, .* those of 'resnet'"),
        (["--weights=resnet18=a.h5"], "the networks of this run, found those of 'resnet18'"),
        (["--weights=resnet34=a.h5"], "found those of 'resnet34'"),
        (["--weights=resnet50=a.h5,resnet50=b.h5"], "expected resnet50 once, found"),
        (["--weights=a.h5,b.h5"], "expected those for all networks once"),
        (["--weights=resnet50=absent.h5"], "a run's folder or a file, found 'absent.h5'"),
        (["--weights=resnet50="], "a run's folder or a file, found ''"),
    ],
)
def test_one_line_says_what_is_wrong(parse, files, words, message):
    parse(*words)
    with pytest.raises(InputError, match=message) as raised:
        weights_flag.check()
    assert str(raised.value).startswith("--weights: expected")
    assert "\n" not in str(raised.value)


def test_pooled_networks_take_weights_too(parse, files):
    parse("--baseline=pooled", "--weights=resnet34=a.h5")
    weights_flag.check()
    assert weights_flag.of("resnet34") == "a.h5"


def test_runs_of_different_widths_are_refused(parse, tmp_path):
    for name, width in (("one", 0.5), ("two", 0.25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"derived": {{"width": {width}}}}}')
    parse(f"--weights=resnet50={tmp_path / 'one'},densenet121={tmp_path / 'two'}")
    with pytest.raises(InputError, match=r"runs of one width, found 0\.25, 0\.5"):
        weights_flag.width()


def test_the_content_of_every_file_is_recorded(files):
    """One file for all is recorded as ever, so that finished runs can be opened."""
    a, b = (training_flags.weights_digests(f"{name}.h5")["weights_sha256"] for name in "ab")
    assert len(a) == len(b) == 64
    assert a != b
    assert training_flags.weights_digests("resnet50=a.h5,densenet121=b.h5,none") == {
        "weights_sha256": {"resnet50": a, "densenet121": b}
    }
    assert training_flags.weights_digests("imagenet") == {}
