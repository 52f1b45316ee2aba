"""Days without a bill are estimated and published; when the bill comes, what it changed is a row that stays."""

from __future__ import annotations

import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from pertask.home import Home
from publish.publication import publish
from tests.python.building import build, ingest_sources
from tests.python.homes import SmallHome

pytestmark = pytest.mark.long

THIRD = date(2026, 8, 21)
TRUE_UPS = """
    select
        usage_date, resource_id, estimated_seconds, billed_seconds, estimated_cost_usd, billed_cost_usd, true_up_usd,
        unestimated_seconds, unestimated_cost_usd
    from quality.provisional_true_ups order by trued_up_at, usage_date
"""
RESTATED = """
    select total_date, change_amount from quality.restatements
    where mart = 'capacity.idle_dollars_daily' and measure = 'effective_cost_usd' order by all
"""
PROVISIONAL = "select usage_date, sum(effective_cost_usd) from core.fct_gpu_hours where is_provisional group by all"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    small = SmallHome(tmp_path_factory.mktemp("true-ups") / "home")
    small.bill("first", 1, days=(0, 1), rate="2.00")()
    small.links("first", 0, ended=False)()
    small.samples(2)()
    run(small)
    assert published(small, TRUE_UPS) == []
    assert published(small, PROVISIONAL) == [(THIRD, Decimal(4))]
    return small


@pytest.fixture
def small(built: SmallHome, tmp_path: Path) -> SmallHome:
    """Two billed days at 2.00 an hour, and two hours of samples on the third: published with an estimate."""
    return SmallHome(shutil.copytree(built.folder, tmp_path / "home"))


def run(small: SmallHome, *, full_refresh: bool = False) -> None:
    home = Home(small.folder)
    ingest_sources(home)
    build(home, full_refresh=full_refresh)
    publish(home)


def published(small: SmallHome, sql: str) -> list[tuple]:
    with duckdb.connect(str(small.folder / "published" / "pertask.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_bill_that_lands_leaves_the_size_of_its_true_up(small):
    # the third day is billed for four hours at 2.10, of which samples had shown two: 0.10 more for each of these
    small.bill("second", 2, days=(0, 1, 2), rate="2.10")()
    run(small)
    true_up = (THIRD, "i-a", 7200, 7200, Decimal(4), Decimal("4.2"), Decimal("0.2"), 7200, Decimal("4.2"))
    assert published(small, TRUE_UPS) == [true_up]
    assert published(small, PROVISIONAL) == []
    # the days before were restated, 4 hours at 0.10 more, and are no true-ups; the third moved by the true-up
    # and by the hours that nothing had shown
    assert published(small, RESTATED) == [
        (date(2026, 8, 19), Decimal("0.4")),
        (date(2026, 8, 20), Decimal("0.4")),
        (THIRD, Decimal("4.4")),
    ]

    small.calls_of_day(0)()
    run(small)
    assert published(small, TRUE_UPS) == [true_up]
    run(small, full_refresh=True)
    assert published(small, TRUE_UPS) == [true_up]


def test_a_bill_that_does_not_name_the_machine_charges_nothing(small):
    # the bill has come to the fourth day; the third is not on it
    small.bill("second", 2, days=(0, 1, 3), rate="2.00")()
    run(small)
    assert published(small, TRUE_UPS) == [(THIRD, "i-a", 7200, 0, Decimal(4), Decimal(0), Decimal(-4), 0, Decimal(0))]


def test_samples_without_a_newer_bill_true_nothing_up(small):
    small.samples(3)()
    run(small)
    assert published(small, TRUE_UPS) == []
    assert sorted(published(small, PROVISIONAL)) == [(THIRD, Decimal(4)), (date(2026, 8, 22), Decimal(4))]
