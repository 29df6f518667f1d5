"""`--only`: training flags that one network of a run has to itself, as a paper may give them.

A recipe trains several networks with the same flags. `--only=densenet121:rounds=150` changes one of
them for one network, while the plan of that network is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib

from absl import flags

from experiments.flags import flag_errors
from tffcxr.errors import InputError, did_you_mean

FLAGS = flags.FLAGS

_FORM = "NETWORK:FLAG=VALUE"
# All that `plan_flags` reads, but what data and federation have one value of in a run, and
# --weights, which has a form of its own for one network.
_FLAGS = (
    "rounds", "local_epochs", "head_rounds", "head_learning_rate", "learning_rate", "schedule",
    "plateau_patience", "plateau_factor", "early_stopping", "optimizer", "momentum", "nesterov",
    "adam_epsilon", "weight_decay", "clip_norm", "keep_optimizer", "server_optimizer",
    "server_learning_rate", "proximal", "weighting", "aggregator", "hostile_clients",
    "quarantine",
    "dp_noise_multiplier", "target_epsilon", "epsilon_budget", "dp_clip", "dp_sgd_noise",
    "dp_sgd_clip", "share", "batch_norm",
    "initialization",
)  # fmt: skip


def define() -> None:
    """Defines the flag, for recipes that train several networks."""
    flags.DEFINE_multi_string(
        "only",
        [],
        f"A training flag of one network, as {_FORM}, such as densenet121:rounds=150; repeatable. "
        "It takes precedence over the flag for all networks. The flags: "
        f"{', '.join(_FLAGS)}.",
    )


def check(networks: Sequence[str], check_flags: Callable[[], None]) -> None:
    """Checks the flags of every network that `--only` names.

    Args:
      networks: those that the recipe trains.
      check_flags: the recipe's checks of training flags; raises InputError.

    Raises:
      InputError: another form, another network, a flag that networks cannot have to themselves, or
        a value that its flag does not take.
    """
    for network, given in _given().items():
        if network not in networks:
            raise InputError(
                f"--only: expected one of the networks {', '.join(networks)}, found {network!r}"
            )
        try:
            with of_network(network):
                check_flags()
        except InputError as error:
            values = ",".join(f"{name}={text}" for name, text in given.items())
            raise InputError(f"--only={network}:{values}: {error}") from error


@contextlib.contextmanager
def of_network(network: str) -> Iterator[None]:
    """Gives the training flags the values of a network.

    A flag that was given for all networks and has no effect on this one, such as the momentum of
    another optimizer, is off.

    Raises:
      InputError: see `check`.
    """
    own = _given().get(network, {})
    if not own:
        yield
        return
    changed = [FLAGS[name] for name in _FLAGS if name in FLAGS]
    before = [(flag.value, flag.present, flag.using_default_value) for flag in changed]
    try:
        for flag in changed:
            flag.present = 0  # Only the network's own flags may lack their partners.
        for name, text in own.items():
            _parse(name, text)
        if FLAGS.optimizer != "sgd" and "momentum" not in own:
            FLAGS["momentum"].value = 0.0
        if not FLAGS.momentum and "nesterov" not in own:
            FLAGS["nesterov"].value = False
        yield
    finally:
        for flag, (value, present, is_default) in zip(changed, before):
            flag.value = value
            flag.present, flag.using_default_value = present, is_default


def _parse(name: str, text: str) -> None:
    try:
        FLAGS[name].parse(text)
    except flags.Error as error:
        raise InputError(flag_errors.described(error)) from None
    FLAGS[name].using_default_value = False


def _given() -> Mapping[str, Mapping[str, str]]:
    """The texts of `--only` by network and flag; the last goes, as with other flags.

    Raises:
      InputError: see `check`.
    """
    given: dict[str, dict[str, str]] = {}
    texts: Sequence[str] = FLAGS.only if "only" in FLAGS else ()
    for text in texts:
        network, has_flag, setting = text.partition(":")
        name, has_value, value = setting.partition("=")
        if not (network and has_flag and name and has_value):
            raise InputError(f"--only: expected {_FORM}, found {text!r}")
        known = [flag for flag in _FLAGS if flag in FLAGS]
        if name not in known:
            raise InputError(
                f"--only: expected one of the flags {', '.join(known)}, found {name!r} in "
                f"{text!r}{did_you_mean(name, known)}"
            )
        given.setdefault(network, {})[name] = value
    return given
