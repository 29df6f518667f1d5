"""The help of a program: groups, defaults, and no flag left out."""

from absl import flags

from experiments.flags import help_text


def _flags():
    values = flags.FlagValues()
    flags.DEFINE_integer("rounds", 30, "Rounds.", flag_values=values)
    flags.DEFINE_enum("fit", "pad", ["pad", "stretch"], "How.", flag_values=values)
    flags.DEFINE_boolean("nesterov", False, "Whether.", flag_values=values)
    flags.DEFINE_string("odd", None, "Its own; default: none.", flag_values=values)
    return [values[name] for name in ("odd", "nesterov", "fit", "rounds")]


def test_flags_are_grouped_with_the_first_ones_first():
    text = help_text.of_program("Does something.\n", _flags())
    assert text.startswith("Does something.\n\nFlags that matter first:\n  --rounds=N")
    places = [text.index(word) for word in ("first:", "Data:", "Optimisation:", "Further flags:")]
    assert places == sorted(places)
    assert "  --fit=pad|stretch\n      How. Default: pad." in text
    assert "  --[no]nesterov\n      Whether. Default: off." in text
    assert "Its own; default: none.\n" in text


def test_many_values_break_between_two_of_them():
    values = flags.FlagValues()
    names = [f"network{number}" for number in range(20)]
    flags.DEFINE_enum("model", "network0", names, "The network.", flag_values=values)
    text = help_text.of_program("Doc.", [values["model"]])
    lines = text.partition("Flags:\n")[2].partition("      The network.")[0].splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 100 for line in lines)
    assert "".join(line.strip() for line in lines) == f"--model={'|'.join(names)}"


def test_a_tool_lists_its_flags_in_their_order():
    (odd,) = _flags()[:1]
    text = help_text.of_program("A tool.", [odd])
    assert "Flags:\n  --odd=TEXT" in text
    assert "matter first" not in text


def test_every_flag_of_a_group_stands_in_one_alone():
    names = [*help_text._FIRST, *(n for names in help_text._GROUPS.values() for n in names)]
    assert len(names) == len(set(names))
    assert len(help_text._FIRST) == 10
