"""The questions of a round, and what is left of them after it."""

import gc
import weakref

from tests.hospitals import in_memory, network
from tffcxr.hospitals.answer_files import AnswerFolder
from tffcxr.hospitals.questions import Questions


def test_a_round_that_is_over_keeps_no_answer(tmp_path):
    hub = in_memory.Hub()
    asking = Questions(hub, AnswerFolder(tmp_path), {"a": "north"}, {"training": "standard"}, 60.0)
    asked = asking.ask("a", {"walks": [[0]]}, network.numbers(1).fields)
    task, _ = hub.next_task("north", ())
    hub.answer("north", task, network.numbers(1, seconds=2.5))
    kept = weakref.ref(asked.result(5))
    assert asking.work_seconds == {"north": 2.5}
    gc.disable()  # Two hundred rounds of weights must not wait for it.
    try:
        asking.close()
        del asked
        network.until(lambda: kept() is None, 2)
    finally:
        gc.enable()
