"""Counts the test cases of one Bazel run from its build event file (standard library only)."""

from __future__ import annotations

import collections
import json
from pathlib import Path
import sys
from urllib.parse import unquote, urlparse
import xml.etree.ElementTree as ElementTree


def count(events: Path) -> collections.Counter:
    """Counts passed, failed and skipped cases over every test target of the run.

    Args:
      events: what `bazel test --build_event_json_file` wrote, one JSON object per line.

    Returns:
      Counts by "passed", "failed" and "skipped". A target that failed without a failing case
      (it did not build, timed out, or crashed) counts as one that failed.
    """
    cases: dict[str, collections.Counter] = {}
    failed_targets: set[str] = set()
    for line in events.read_text().splitlines():
        event = json.loads(line)
        identity = event["id"]
        if "testResult" in identity:
            target = identity["testResult"]["label"]
            # Of several attempts at a target, the last one stands.
            cases[target] = _count_cases(event.get("testResult", {}))
        elif "testSummary" in identity:
            if event.get("testSummary", {}).get("overallStatus") != "PASSED":
                failed_targets.add(identity["testSummary"]["label"])
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            failed_targets.add(identity["targetCompleted"]["label"])
        elif "pattern" in identity and "aborted" in event:
            failed_targets.add(" ".join(identity["pattern"]["pattern"]))
    for target in failed_targets:
        counter = cases.setdefault(target, collections.Counter())
        if not counter["failed"]:
            counter["failed"] += 1
    return sum(cases.values(), collections.Counter())


def _count_cases(result: dict) -> collections.Counter:
    """Counts the cases in the XML report that belongs to one test result event."""
    counter: collections.Counter = collections.Counter()
    for output in result.get("testActionOutput", ()):
        report = Path(unquote(urlparse(output.get("uri", "")).path))
        if output["name"] == "test.xml" and report.is_file():
            for case in ElementTree.parse(report).iter("testcase"):
                children = {child.tag for child in case}
                if children & {"failure", "error"}:
                    counter["failed"] += 1
                else:
                    counter["skipped" if "skipped" in children else "passed"] += 1
    return counter


def main(events: Path) -> int:
    """Prints the summary; returns 0 if something ran and nothing failed."""
    counter = count(events) if events.is_file() else collections.Counter(failed=1)
    print("{passed} passed, {failed} failed, {skipped} skipped".format_map(counter))
    return 0 if counter["passed"] and not counter["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
