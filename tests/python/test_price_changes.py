"""A changed price moves the days that it covers and no other, and readers are told what moved."""

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

DAILY = """
    select usage_date, sum(total_cost_usd) from unit_economics.retry_overhead_daily group by usage_date order by all
"""
RESTATED = """
    select total_date, old_amount, new_amount, cause from quality.restatements
    where mart = 'unit_economics.retry_overhead_daily' order by detected_at, total_date
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    small = SmallHome(tmp_path_factory.mktemp("prices") / "home")
    for day in range(4):
        small.calls_of_day(day)()
    run(small)
    return small


@pytest.fixture
def small(built: SmallHome, tmp_path: Path) -> SmallHome:
    """Four days of calls, built and published."""
    return SmallHome(shutil.copytree(built.folder, tmp_path / "home"))


def run(small: SmallHome) -> dict[date, Decimal]:
    """Ingest, build and publish; returns the cost of each day."""
    home = Home(small.folder)
    ingest_sources(home)
    build(home)
    publish(home)
    return dict(published(small, DAILY))


def published(small: SmallHome, sql: str) -> list[tuple]:
    with duckdb.connect(str(small.folder / "published" / "pertask.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def prices(*rows: str) -> tuple[str, str]:
    header = "provider,model,component,usd_per_million,valid_from,valid_to"
    return header, "\n".join(f"openai,gpt-5.6-sol,{row}" for row in rows)


def test_a_price_cut_changes_no_day_before_it(small):
    before = run(small)
    small.terms("prices", *prices("input,1,2026-08-21,"))()
    after = run(small)

    assert [day.day for day in before] == [19, 20, 21, 22]
    assert [day.day for day in before if before[day] != after[day]] == [21, 22]
    assert all(after[day] < before[day] for day in before if day.day >= 21)
    restated = published(small, RESTATED)
    assert [row[:3] for row in restated] == [
        (day, before[day], after[day]) for day in (date(2026, 8, 21), date(2026, 8, 22))
    ]
    assert all("company_prices" in cause for *_, cause in restated)


def test_a_backdated_correction_moves_exactly_the_days_it_covers(small):
    before = run(small)
    small.terms("prices", *prices("input,1,2026-08-20,2026-08-21"))()
    after = run(small)
    small.terms("prices", *prices("input,2,2026-08-20,2026-08-21"))()
    corrected = run(small)

    day = date(2026, 8, 20)
    assert [moved for moved in before if before[moved] != after[moved]] == [day]
    assert [moved for moved in after if after[moved] != corrected[moved]] == [day]
    # what was told before stays told
    assert [row[:3] for row in published(small, RESTATED)] == [
        (day, before[day], after[day]),
        (day, after[day], corrected[day]),
    ]


def test_an_observed_price_counts_from_its_observation_on(small):
    before = run(small)
    # the price of a model that nothing knew, as seen on the morning of the third day; its calls are at 11:00
    small.prices(2, 0.000004)()
    after = run(small)

    assert [day.day for day in before if before[day] != after[day]] == [21, 22]
    # 1,000 tokens in and 100 out, at 4 and 10 per million
    assert {after[day] - before[day] for day in before if day.day >= 21} == {Decimal("0.005")}
    assert [row[0].day for row in published(small, RESTATED)] == [21, 22]
    assert all("observed prices" in cause for *_, cause in published(small, RESTATED))


def test_a_suspicious_price_is_held_and_prices_nothing(small):
    small.prices(0, 0.000004)()
    small.prices(1, 0.000004)()
    before = run(small)
    small.prices(2, 0.004)()
    after = run(small)

    assert before == after
    observations = (
        "select usd_per_million, state, held_reason from quality.price_observations where component = 'input'"
    )
    assert sorted(published(small, observations)) == [
        (Decimal("4.000000"), "used", None),
        (Decimal("4.000000"), "used", None),
        (Decimal("4000.000000"), "held", "a factor of 500 or more from other observations"),
    ]


def test_new_days_are_news_and_not_restatements(tmp_path):
    small = SmallHome(tmp_path / "home")
    small.calls_of_day(0)()
    first = run(small)
    small.calls_of_day(1)()
    second = run(small)

    assert len(second) == len(first) + 1
    assert published(small, RESTATED) == []
