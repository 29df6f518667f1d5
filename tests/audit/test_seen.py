"""The protections of a round as settings of the training that is attacked."""

from tests.training import example
from tffcxr.audit.seen import Protection
from tffcxr.learning import aggregators
from tffcxr.learning.dp_sgd import DpSgd


def test_a_secure_sum_and_noised_steps_are_there_alone_and_together(monkeypatch):
    plan = example.plan()
    secure = aggregators.make("secure")
    monkeypatch.setattr(aggregators, "make", {"secure": secure}.get)
    assert Protection("nothing").apply(plan, 4, 5) is plan
    alone = Protection("dp_sgd", 1.5, 2.0).apply(plan, 4, 5)
    assert (alone.dp_sgd, alone.aggregator) == (DpSgd(1.5, 2.0, 4), plan.aggregator)
    summed = Protection("secure").apply(plan, 4, 5)
    assert (summed.dp_sgd, summed.aggregator) == (None, secure)
    both = Protection("both", 1.5, 2.0).apply(plan, 4, 5)
    assert (both.dp_sgd, both.aggregator) == (DpSgd(1.5, 2.0, 4), secure)


def test_a_sum_is_of_all_clients():
    names = ("nothing", "clipping", "dp", "dp_sgd", "secure", "both")
    found = [name for name in names if Protection(name, 1.0).is_of_sum]
    assert found == ["dp", "secure", "both"]
