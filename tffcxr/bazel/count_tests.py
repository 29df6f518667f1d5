"""Counts the test cases of one Bazel run from its build event file (standard library only)."""

from __future__ import annotations

import collections
import json
from pathlib import Path
import sys
from urllib.parse import unquote, urlparse
import xml.etree.ElementTree as ElementTree


def count(events: Path) -> tuple[collections.Counter, list[str]]:
    """Counts passed, failed and skipped cases over every test target of the run.

    Args:
      events: what `bazel test --build_event_json_file` wrote, one JSON object per line.

    Returns:
      Counts by "passed", "failed" and "skipped", and one line for each failure. A target that
      failed without a failing case (it did not build, timed out, or crashed) counts as one
      that failed.
    """
    # By target and shard.
    cases: dict[tuple[str, int], collections.Counter] = {}
    failures: dict[tuple[str, int], list[str]] = {}
    failed_targets: set[str] = set()
    for line in events.read_text().splitlines():
        event = json.loads(line)
        identity = event["id"]
        if "testResult" in identity:
            place = identity["testResult"]["label"], identity["testResult"].get("shard", 1)
            # Of several attempts at a shard, the last one stands.
            cases[place], failures[place] = _count_cases(event.get("testResult", {}))
        elif "testSummary" in identity:
            if event.get("testSummary", {}).get("overallStatus") != "PASSED":
                failed_targets.add(identity["testSummary"]["label"])
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            failed_targets.add(identity["targetCompleted"]["label"])
        elif "pattern" in identity and "aborted" in event:
            failed_targets.add(" ".join(identity["pattern"]["pattern"]))
    for target in failed_targets:
        if not any(counter["failed"] for (label, _), counter in cases.items() if label == target):
            cases[target, 0] = collections.Counter(failed=1)
            failures[target, 0] = [f"{target}: did not finish"]
    return sum(cases.values(), collections.Counter()), sum(failures.values(), [])


def _count_cases(result: dict) -> tuple[collections.Counter, list[str]]:
    """Counts the cases in the XML report of one test result event; a line for each failure."""
    counter: collections.Counter = collections.Counter()
    failures = []
    for output in result.get("testActionOutput", ()):
        report = Path(unquote(urlparse(output.get("uri", "")).path))
        if output["name"] == "test.xml" and report.is_file():
            for case in ElementTree.parse(report).iter("testcase"):
                children = {child.tag: child for child in case}
                cause = children.get("failure", children.get("error"))
                if cause is not None:
                    counter["failed"] += 1
                    message = cause.get("message", "").split("\n", 1)[0]
                    failures.append(f"{case.get('classname', '')}.{case.get('name')}: {message}")
                else:
                    counter["skipped" if "skipped" in children else "passed"] += 1
    return counter, failures


def main(events: Path) -> int:
    """Prints the failures and the summary; returns 0 if something ran and nothing failed."""
    if not events.is_file():
        counter, failures = collections.Counter(failed=1), ["Bazel left no record of the run"]
    else:
        counter, failures = count(events)
    for failure in failures:
        print("FAILED", failure)
    print("{passed} passed, {failed} failed, {skipped} skipped".format_map(counter))
    return 0 if counter["passed"] and not counter["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
