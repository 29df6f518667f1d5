"""Counting test cases from a hand-written build event file."""

import json

from tffcxr.bazel import count_tests

_REPORT = """<testsuites><testsuite>
  <testcase name="a"/>
  <testcase classname="tests.a" name="b"><failure message="1 != 2&#10;more"/></testcase>
  <testcase classname="tests.a" name="c"><error message="fixture"/></testcase>
  <testcase name="d"><skipped message="no data"/></testcase>
  <testcase name="e"/>
</testsuite></testsuites>"""


def write_events(tmp_path, *events):
    path = tmp_path / "events.json"
    path.write_text("\n".join(json.dumps(event) for event in events))
    return path


def result(tmp_path, label, report, shard=1):
    path = tmp_path / "a folder" / f"{label.strip('/:')}_{shard}.xml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(report)
    output = [
        {"name": "test.log", "uri": "file:///nowhere"},
        {"name": "test.xml", "uri": path.as_uri()},
    ]
    identity = {"label": label, "run": 1, "shard": shard, "attempt": 1}
    return {"id": {"testResult": identity}, "testResult": {"testActionOutput": output}}


def summary(label, status):
    return {"id": {"testSummary": {"label": label}}, "testSummary": {"overallStatus": status}}


def test_every_case_of_every_target_counts(tmp_path, capsys):
    events = write_events(
        tmp_path,
        result(tmp_path, "//:a", _REPORT),
        summary("//:a", "FAILED"),
        result(tmp_path, "//:b", '<testsuite><testcase name="only"/></testsuite>'),
        summary("//:b", "PASSED"),
    )
    assert count_tests.main(events) == 1
    assert capsys.readouterr().out == (
        "FAILED tests.a.b: 1 != 2\nFAILED tests.a.c: fixture\n3 passed, 2 failed, 1 skipped\n"
    )


def test_every_shard_of_a_target_counts(tmp_path):
    events = write_events(
        tmp_path,
        result(tmp_path, "//:a", _REPORT, shard=1),
        result(tmp_path, "//:a", '<testsuite><testcase name="only"/></testsuite>', shard=2),
        summary("//:a", "FAILED"),
    )
    counter, failures = count_tests.count(events)
    assert counter == {"passed": 3, "failed": 2, "skipped": 1}
    assert len(failures) == 2


def test_target_that_failed_without_a_failing_case_counts_as_one(tmp_path):
    events = write_events(
        tmp_path,
        result(tmp_path, "//:slow", '<testsuite><testcase name="only"/></testsuite>'),
        summary("//:slow", "TIMEOUT"),
        {"id": {"targetCompleted": {"label": "//:broken"}}, "aborted": {"reason": "ANALYSIS"}},
    )
    counter, failures = count_tests.count(events)
    assert counter == {"passed": 1, "failed": 2}
    assert sorted(failures) == ["//:broken: did not finish", "//:slow: did not finish"]


def test_unloadable_pattern_is_a_failure(tmp_path):
    events = write_events(
        tmp_path,
        {"id": {"pattern": {"pattern": ["//..."]}}, "aborted": {"reason": "LOADING_FAILURE"}},
    )
    assert count_tests.main(events) == 1


def test_run_without_events_or_tests_is_no_success(tmp_path, capsys):
    assert count_tests.main(tmp_path / "missing.json") == 1
    assert count_tests.main(write_events(tmp_path)) == 1
    assert capsys.readouterr().out == (
        "FAILED Bazel left no record of the run\n"
        "0 passed, 1 failed, 0 skipped\n0 passed, 0 failed, 0 skipped\n"
    )


def test_passing_run_is_a_success(tmp_path, capsys):
    events = write_events(
        tmp_path,
        result(tmp_path, "//:a", '<testsuite><testcase name="only"/></testsuite>'),
        summary("//:a", "PASSED"),
    )
    assert count_tests.main(events) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed, 0 skipped\n"
