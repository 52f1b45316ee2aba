"""However deliveries, outcomes, bills and edits arrive, the marts end up as one full rebuild makes them.

So does a full refresh in slices of dates.
"""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from pertask.home import Home
from tests.python.building import build, ingest_sources
from tests.python.homes import SmallHome, mart_rows

pytestmark = pytest.mark.long

ORDERS = [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.drill) for seed in range(20)]
"""Seeds of the orders: some with every change, all of them in `make drill`."""
BUILDS = 3
"""Builds of one order: two at random moments, one at the end."""


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home where everything is there from the start, built at once."""
    small = SmallHome(tmp_path_factory.mktemp("rebuilt"))
    small.deliver_all()
    for edit in small.company_edits():
        edit()
    home = Home(small.folder)
    ingest_sources(home)
    assert build(home).full_refresh
    return home


@pytest.fixture(scope="module")
def rebuilt(complete: Home) -> dict[str, list]:
    """The marts of the complete home."""
    return warehouse_rows(complete)


def warehouse_rows(home: Home) -> dict[str, list]:
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        return mart_rows(connection)


@pytest.mark.parametrize("seed", ORDERS)
def test_any_order_of_arrival_gives_the_same_marts(seed: int, tmp_path: Path, rebuilt: dict[str, list]) -> None:
    small = SmallHome(tmp_path / "home")
    home = Home(small.folder)
    chance = random.Random(seed)
    deliveries = small.deliveries()
    edits = small.company_edits()
    chance.shuffle(deliveries)
    # the edits keep their order, at random places among the deliveries; from the back, so that places stay true
    places = sorted(chance.choices(range(len(deliveries)), k=len(edits)))
    for edit, place in reversed(list(zip(edits, places, strict=True))):
        deliveries.insert(place, edit)
    stops = {*chance.sample(range(1, len(deliveries)), BUILDS - 1), len(deliveries)}
    for number, deliver in enumerate(deliveries, 1):
        deliver()
        if number in stops:
            ingest_sources(home)
            # rows that are those of the rebuild have passed its tests
            prepared = build(home, is_tested=False)
            assert prepared.full_refresh == (number == min(stops)), "later builds are incremental"
    found = warehouse_rows(home)
    assert found.keys() == rebuilt.keys()
    for mart, rows in rebuilt.items():
        assert found[mart] == rows, f"{mart} differs after seed {seed}"


def test_a_full_refresh_in_slices_of_dates_gives_the_same_marts(complete: Home, rebuilt: dict[str, list]) -> None:
    dates = counted(complete, "count(distinct usage_date)")
    # the calls of all dates but one: one slice of several dates, and one or more of the rest
    calls = counted(complete, "count(*)") - 1
    assert build(complete, full_refresh=True, is_tested=False, calls_per_date_slice=calls).full_refresh
    ran = complete.target / "run" / "pertask" / "models" / "marts" / "core" / "fct_call_attempts.sql"
    assert 1 < ran.read_text(encoding="utf-8").count("set variable slice_first_date") < dates
    assert warehouse_rows(complete) == rebuilt


def counted(home: Home, expression: str) -> int:
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        return connection.execute(f"select {expression} from core.fct_call_attempts").fetchall()[0][0]
