"""What every conformance test uses, a summary that says how to repeat a run, and what table.py is made from."""

import json
import os

import pytest

import gipsec
import traffic
from kernel import guest


@pytest.fixture(scope="session")
def accelerator():
    with gipsec.Accelerator() as opened:
        yield opened


def pytest_report_header():
    return f"libgipsec: {gipsec.LIBRARY}; repeat this run with GIPSEC_SEED={traffic.SEED}"


def pytest_collection_modifyitems(items):
    """Those with the kernel last and in one go: it ends when it is left alone."""
    items.sort(key=lambda item: "kernel" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def kernel(request):
    """A Linux kernel with the SAs of every case that is going to run: one boot for all."""
    items = [item for item in request.session.items if "kernel" in getattr(item, "fixturenames", ())]
    cases = dict.fromkeys(item.callspec.params["case"] for item in items)
    try:
        opened = guest.Guest([line for case in cases for line in case.lines()])
    except guest.Unavailable as why:
        pytest.skip(f"SKIPPED: no Linux kernel as a peer: {why}")
    with opened:
        yield opened


results = []


def pytest_sessionfinish():
    """GIPSEC_CONFORMANCE_RESULTS names a file for table.py."""
    if path := os.environ.get("GIPSEC_CONFORMANCE_RESULTS"):
        with open(path, "w") as file:
            json.dump(results, file)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    covers = getattr(item.module, "covers", None)
    if covers and (report.when == "call" or not report.passed):
        peer, transform, features = covers(item) if hasattr(item, "callspec") else (None, None, [])
        why = str(report.longrepr[2]).removeprefix("Skipped: ").removeprefix("SKIPPED: ") if report.skipped else ""
        results.append(dict(peer=peer, transform=transform, features=features, outcome=report.outcome, why=why))
    if report.failed:
        report.sections.append(("seed", f"GIPSEC_SEED={traffic.SEED}"))


def pytest_terminal_summary(terminalreporter):
    """What ran, by file, and why anything did not."""
    counts = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            counts.setdefault(report.nodeid.split("::")[0].rsplit("/", 1)[-1], {}).setdefault(outcome, []).append(report)
    terminalreporter.section("conformance")
    for file, outcomes in sorted(counts.items()):
        line = ", ".join(f"{len(reports)} {outcome}" for outcome, reports in outcomes.items())
        terminalreporter.write_line(f"{file}: {line}")
        for report in outcomes.get("skipped", []):
            terminalreporter.write_line(f"    {report.nodeid.split('::')[1]}: {report.longrepr[2]}")
    terminalreporter.write_line(f"GIPSEC_SEED={traffic.SEED}")
