"""Random companies through the product: no GPU dollar is lost, and each call costs what slow arithmetic says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest

from tests.python.brute_allocation import Brute, GpuHour
from tests.python.building import build, ingest_sources
from tests.python.random_company import Company, deliver, random_company

GROUPS = 35
COMPANIES = {
    # London's clock goes forward on the second day
    "spring": (1, date(2026, 3, 28)),
    # a month ends after the second day
    "summer": (5, date(2026, 8, 30)),
}
STATES = ("active", "loaded_idle", "unallocated", "unknown")


@dataclass
class Built:
    """A company, its warehouse, and what the brute force makes of it."""

    company: Company
    warehouse: duckdb.DuckDBPyConnection
    brute: Brute


@pytest.fixture(scope="module", params=COMPANIES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    company = random_company(*COMPANIES[request.param], GROUPS)
    home = deliver(company, tmp_path_factory.mktemp(request.param) / "home")
    ingest_sources(home)
    # each mart's own tests hold on other companies; here they would take most of the time
    build(home, is_tested=False)
    with duckdb.connect(str(home.warehouse_file), read_only=True) as warehouse:
        yield Built(company, warehouse, Brute(company, gpu_hours(warehouse)))


def gpu_hours(warehouse: duckdb.DuckDBPyConnection) -> list[GpuHour]:
    """What each GPU-hour was billed, or is estimated to have cost; money without seconds is of no known state."""
    rows = warehouse.execute(
        """
        select gpu_key, resource_id, hour_at,
            row_number() over (partition by resource_id, hour_at order by gpu_key) as slot,
            sum(billed_seconds), sum(if(billed_seconds = 0, 0, effective_cost_usd))
        from core.fct_gpu_hours group by gpu_key, resource_id, hour_at
        """
    ).fetchall()
    return [
        GpuHour(key, resource, hour.replace(tzinfo=UTC), slot, Fraction(billed), Fraction(cost))
        for key, resource, hour, slot, billed, cost in rows
    ]


def test_the_companies_hold_the_cases_that_are_hard(built):
    brute = built.brute
    called = [hour for hour in brute.hours if hour.called_usd]
    parts = [part for hour in called for part in hour.parts.values()]
    assert any(len(part.pools) > 1 for part in parts), "two replicas on one GPU"
    assert any(part.share_of_card < 1 and part.busy for part in parts), "slices"
    assert any(len({part.pools for part in hour.parts.values() if part.busy}) > 1 for hour in called), "several of them"
    assert any(part.start > hour.hour_at for hour in called for part in hour.parts.values()), "loaded within an hour"
    own = [call for call in built.company.calls if brute.costs.get(call.call_id)]
    assert any(call.ended_at is None for call in own), "calls that do not tell their end"
    assert {1, 2.5, 10, 0.5} == {float(call.weight) for call in own}, "rows of sampled logs"
    assert any(call.ended_at and call.ended_at.date() > call.started_at.date() for call in own), "over midnight"
    assert {name for call in own for name, value in vars(call).items() if value is not None} >= {
        "replica_id", "api_base", "deployment_id"
    }  # fmt: skip
    [(estimated, refunded)] = built.warehouse.execute(
        """
        select count(*) filter (where is_provisional and active_usd > active_without_calls_usd),
            count(*) filter (where effective_cost_usd < 0)
        from core.fct_gpu_hours
        """
    ).fetchall()
    assert estimated > 0, "calls after the end of the bill"
    assert refunded > 0, "refunds"


def test_the_bill_is_spread_whole(built):
    billed = defaultdict(Fraction)
    for line in (*built.company.lines["hourly"], *built.company.lines["wide"]):
        billed[line["resource_id"]] += Fraction(line["effective_cost"])
    found = built.warehouse.execute(
        "select resource_id, sum(effective_cost_usd) from core.fct_gpu_hours where not is_provisional group by all"
    ).fetchall()
    assert {resource: Fraction(cost) for resource, cost in found} == billed
    assert built.warehouse.execute("select count(*) from core.fct_gpu_hours where is_provisional").fetchone() > (0,)


def test_states_are_the_whole_of_each_gpu_hour(built):
    states = [" + ".join(f"{state}_{unit}" for state in STATES) for unit in ("usd", "seconds")]
    wrong = built.warehouse.execute(
        f"""
        from core.fct_gpu_hours
        where effective_cost_usd != {states[0]} or billed_seconds != {states[1]}
        """
    ).fetchall()
    assert wrong == []


def test_allocated_and_active_without_calls_are_active(built):
    rows = built.warehouse.execute(
        """
        with hours as (
            select usage_date, sum(active_usd) as active, sum(active_without_calls_usd) as without_calls
            from core.fct_gpu_hours group by usage_date
        ),
        calls as (
            select usage_date, sum(cost_usd) as allocated from intermediate.int_call_allocations group by usage_date
        )
        select active, without_calls, coalesce(allocated, 0) from hours left join calls using (usage_date)
        """
    ).fetchall()
    assert len(rows) >= 3
    assert all(active == without_calls + allocated for active, without_calls, allocated in rows)
    assert sum(allocated for *_, allocated in rows) > 0
    by_call = built.warehouse.execute(
        """
        with calls as (select call_id, sum(cost_usd) as allocated from intermediate.int_call_allocations group by all)
        select sample_weight, cost_usd, allocated
        from core.fct_call_attempts left join calls using (call_id)
        where cost_basis = 'allocated'
        """
    ).fetchall()
    assert sum(allocated for *_, allocated in by_call) == sum(allocated for *_, allocated in rows)
    assert all(cost == allocated for weight, cost, allocated in by_call if weight == 1)
    # a row of a sampled log has its own share, rounded to 1e-12
    assert all(abs(cost * weight - allocated) <= weight * Decimal("5e-13") for weight, cost, allocated in by_call)


def test_each_gpu_hour_is_in_the_states_that_brute_force_finds(built):
    found = {
        (key, resource, hour.replace(tzinfo=UTC)): values
        for key, resource, hour, *values in built.warehouse.execute(
            """
            select gpu_key, resource_id, hour_at, sum(active_seconds), sum(loaded_idle_seconds),
                sum(unallocated_seconds), sum(active_without_calls_usd)
            from core.fct_gpu_hours group by all
            """
        ).fetchall()
    }
    for hour in built.brute.hours:
        values = found[hour.gpu_key, hour.resource_id, hour.hour_at]
        without_calls = hour.usd(hour.active) - hour.called_usd
        expected = (hour.active, hour.loaded_idle, hour.unallocated, without_calls)
        for value, truth, tolerance in zip(values, expected, (1e-5, 1e-5, 1e-5, 1e-8), strict=True):
            assert abs(Fraction(value) - truth) < tolerance, (hour, values)


def test_each_call_costs_what_brute_force_finds(built):
    found = {
        call_id: (cost, loaded, reason)
        for call_id, cost, loaded, reason in built.warehouse.execute(
            "select call_id, cost_usd, fully_loaded_cost_usd, unpriced_reason from core.fct_call_attempts"
        ).fetchall()
    }
    own = [call for call in built.company.calls if call.group]
    assert len(built.brute.costs) > len(own) / 2
    for call in own:
        cost, loaded, reason = found[call.call_id]
        expected = built.brute.costs.get(call.call_id)
        if call.call_id in built.brute.unweighed:
            assert (cost, reason) == (None, "weight_missing")
            continue
        assert (cost is None) == (expected is None), (call, reason)
        if expected is None:
            assert reason in ("no_gpu_for_call", "gpu_not_billed")
            continue
        assert abs(Fraction(cost) - expected / call.weight) < 1e-9, call
        # a millionth of a cent: idle dollars may be a thousand times those of a call, rounded as it is
        loaded_truth = (expected + built.brute.idle_shares[call.call_id]) / call.weight
        assert abs(Fraction(loaded) - loaded_truth) < 1e-8, call


def test_nothing_costs_less_than_nothing_unless_it_is_refunded(built):
    rows = built.warehouse.execute(
        "select split_part(call_id, '-', 1), min(cost_usd), min(fully_loaded_cost_usd - cost_usd) "
        "from core.fct_call_attempts where cost_basis = 'allocated' group by 1"
    ).fetchall()
    kept = [row for row in rows if row[0] not in built.company.has_refund]
    assert len(kept) > 10
    assert all(cost >= 0 and idle >= 0 for _, cost, idle in kept)


def test_calls_never_carry_more_idle_than_there_is(built):
    idle = defaultdict(Fraction)
    for resource, day, usd in built.warehouse.execute(
        "select resource_id, usage_date, sum(loaded_idle_usd + unallocated_usd) from core.fct_gpu_hours group by all"
    ).fetchall():
        idle[built.company.machines[resource], day] += Fraction(usd)
    shares = built.warehouse.execute(
        "select split_part(call_id, '-', 1), usage_date, sum(coalesce(idle_share_usd, 0)) "
        "from intermediate.int_call_allocations group by all"
    ).fetchall()
    kept = [row for row in shares if row[0] not in built.company.has_refund]
    assert sum(share for *_, share in kept) > 0
    assert all(Fraction(share) <= idle[group, day] for group, day, share in kept)


def test_sharing_by_tokens_and_idle_alike_loses_nothing(tmp_path):
    company = random_company(4, date(2026, 8, 30), GROUPS)
    home = deliver(company, tmp_path / "home")
    with (home.root / "pertask.yml").open("a", encoding="utf-8") as file:
        file.write("allocation: {weights: tokens, output_token_weight: 4, idle: even, gpu_share_of_node_ratio: 0.7}\n")
    ingest_sources(home)
    # the models' own tests say whether dollars are lost
    build(home)
    with duckdb.connect(str(home.warehouse_file), read_only=True) as warehouse:
        [(by_tokens, idle)] = warehouse.execute(
            "select count(*) filter (where cost_usd = token_share_usd), sum(idle_share_usd) "
            "from intermediate.int_call_allocations where cost_usd > 0"
        ).fetchall()
    assert by_tokens > 100
    assert idle > 0


def test_a_metered_call_is_never_allocated(built):
    [(metered, allocated)] = built.warehouse.execute(
        """
        select
            count(*) filter (where cost_basis = 'metered' and cost_usd > 0 and cost_usd = fully_loaded_cost_usd),
            count(*) filter (where cost_basis = 'allocated')
        from core.fct_call_attempts where provider = 'openai'
        """
    ).fetchall()
    assert (metered, allocated) == (20, 0)
    in_both = "select count(*) from intermediate.int_call_allocations where call_id like 'metered-%'"
    assert built.warehouse.execute(in_both).fetchone() == (0,)
