"""Say how many cases are run, and how many were caught before with nothing changed since."""

import pytest


def pytest_report_collectionfinish(items: list[pytest.Item]) -> str:
    cases = [item for item in items if "outcomes" in getattr(item, "fixturenames", ())]
    module = cases[0].module if cases else None
    kept = sum(module.kept(module.CASES[item.callspec.params["name"]]).exists() for item in cases)
    return f"{len(cases)} cases: {kept} caught before and unchanged, {len(cases) - kept} to run"
