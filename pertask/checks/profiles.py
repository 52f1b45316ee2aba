"""Profiles: what each source brought for each day, counted once and kept.

A profile says of a lake contract, by source and day, how many rows there are (those that stand in several deliveries
count once), in how many of them a column is null, how many are out of range, how many have each value of a category,
what they cost, and what their measures add up to. Profiles are kept under ``warehouse/checks/profiles``, one small file
a contract. Each period of a source (a day, or a month of a bill) carries the fingerprint of what it was counted from,
so that a run counts what is new and nothing else; without the files all is counted again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.contracts import CONTRACTS, TOKEN_BUCKETS
from pertask.home import Home
from pertask.memory import duckdb_limits
from publish.publication import literal

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_INPUT = tuple(name for name in TOKEN_BUCKETS if not name.startswith(("output", "reasoning")) and "output" not in name)
_OUTPUT = tuple(name for name in TOKEN_BUCKETS if name not in _INPUT)
_MONEY = "decimal(38, 12)"
_MAX_CATEGORY_VALUES = 200
OTHERS = "(others)"
"""Stands for all values of a category beyond the 200 most frequent of a day."""


@dataclass(frozen=True)
class Profiled:
    """What is counted of a contract.

    Attributes:
        contract: name of the contract.
        day: SQL of a row's day; empty where rows carry none, whose day is then that of their delivery.
        amount: SQL of what a row cost; empty where it has no cost.
        currency: SQL of the currency of ``amount``.
        nulls: name and SQL of the values that are usually there.
        ranges: name and SQL condition of rows that cannot be right, beyond what ingest refuses.
        categories: columns whose values come from a short list.
        sums: name and SQL of measures that marts must add up to, by ``sum_by``.
        sum_by: SQL of what ``sums`` are told apart by, besides source and day.
        counts_rows: whether days are alike enough to compare their number of rows; deliveries of tasks are not, as
            they may be whole lists, and rates have no weekends.
        settles_days: days after its end until a day is whole as a rule: vendors bill late.
    """

    contract: str
    day: str
    amount: str = ""
    currency: str = "'USD'"
    nulls: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, str] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    sums: dict[str, str] = field(default_factory=dict)
    sum_by: str = "''"
    counts_rows: bool = True
    settles_days: int = 0

    @property
    def period(self) -> str:
        """SQL of the period that a day belongs to, which is counted as a whole."""
        is_month = self.day and not CONTRACTS[self.contract].partitioned
        return f"cast(date_trunc('month', {self.day}) as date)" if is_month else self.day


def _plain(*columns: str) -> dict[str, str]:
    return {column: column for column in columns}


def _later_than_delivered(column: str) -> dict[str, str]:
    return {f"{column}_in_future": f"{column} > committed_at + interval 1 hour"}


def _total(columns: tuple[str, ...]) -> str:
    return " + ".join(f"coalesce({column}, 0)" for column in columns)


_TOO_MANY_TOKENS = {"tokens_beyond_belief": f"greatest({', '.join(TOKEN_BUCKETS)}) > 100000000"}

PROFILED: dict[str, Profiled] = {
    profiled.contract: profiled
    for profiled in (
        Profiled(
            contract="llm_calls",
            day="usage_date",
            amount="reported_cost",
            currency="upper(coalesce(reported_currency, 'USD'))",
            nulls={
                **_plain("provider", "model", "team", "task_type", "ended_at", "reported_cost"),
                "uncached_input_tokens": "uncached_input_tokens",
                "output_text_tokens": "output_text_tokens",
                # a trace or call id stands in where the log names no task
                "task_id": "case when task_id_origin = 'task' then task_id end",
            },
            ranges={
                **_later_than_delivered("started_at"),
                "first_token_after_end": "first_token_at > ended_at",
                "longer_than_a_day": "ended_at > started_at + interval 1 day",
                **_TOO_MANY_TOKENS,
            },
            categories=("provider", "model", "status", "reported_currency"),
            sums={"input_tokens": _total(_INPUT), "output_tokens": _total(_OUTPUT)},
        ),
        Profiled(
            contract="tasks",
            day="",
            nulls=_plain("task_type", "team", "outcome", "closed_at"),
            ranges=_later_than_delivered("closed_at"),
            categories=("outcome",),
            counts_rows=False,
        ),
        Profiled(
            contract="bill_lines",
            day="cast(cast(charge_period_start as timestamp) as date)",
            amount="billed_cost",
            currency="upper(billing_currency)",
            # taxes, credits and purchases are of no machine
            nulls={
                "effective_cost": "effective_cost",
                **{
                    column: f"case when charge_category = 'Usage' then {column} else '' end"
                    for column in ("resource_id", "region_id", "service_name")
                },
                "consumed_quantity": "case when charge_category = 'Usage' then consumed_quantity else 0 end",
            },
            ranges=_later_than_delivered("charge_period_start"),
            categories=("provider_name", "billing_currency"),
            sums={"billed_cost": "billed_cost", "effective_cost": "coalesce(effective_cost, billed_cost)"},
            sum_by="upper(billing_currency)",
            settles_days=2,
        ),
        Profiled(
            contract="gpu_samples",
            day="usage_date",
            nulls=_plain("hostname", "gpu_util", "gr_engine_active", "power_watts", "pod"),
            ranges={**_later_than_delivered("sampled_at"), "power_beyond_belief": "power_watts > 5000"},
            categories=("gpu_model",),
            sums={
                "sampled_seconds": "interval_seconds",
                "seconds_after_midnight": f"""
                    greatest(
                        0,
                        cast(interval_seconds as {_MONEY}) - date_diff(
                            'microsecond', cast(sampled_at as timestamp), cast(usage_date + 1 as timestamp)
                        ) * cast(0.000001 as {_MONEY})
                    )
                """,
            },
        ),
        Profiled(
            contract="serving_samples",
            day="usage_date",
            nulls=_plain("deployment_id", "model", "running_request_count", "output_tokens_total"),
            ranges=_later_than_delivered("sampled_at"),
            categories=("model",),
        ),
        Profiled(
            contract="vendor_costs",
            day="cost_date",
            amount="amount",
            currency="upper(currency)",
            nulls=_plain("model", "line_item", "token_type"),
            ranges={"cost_date_in_future": "cost_date > cast(cast(committed_at as timestamp) as date) + 1"},
            categories=("provider", "currency"),
            settles_days=1,
        ),
        Profiled(
            contract="vendor_usage",
            day="cast(cast(started_at as timestamp) as date)",
            nulls=_plain("model", "uncached_input_tokens", "output_text_tokens"),
            ranges={**_later_than_delivered("started_at"), **_TOO_MANY_TOKENS},
            categories=("provider", "model"),
            settles_days=1,
        ),
        Profiled(
            contract="fx_rates",
            day="rate_date",
            ranges={
                "rate_is_zero": "rate = 0",
                "rate_date_in_future": "rate_date > cast(cast(committed_at as timestamp) as date) + 1",
            },
            counts_rows=False,
        ),
    )
}
"""What is counted, by contract. The others are lists that come as a whole, of a length that tells nothing."""


def refresh(home: Home) -> dict[str, pl.DataFrame]:
    """Profiles of what the snapshot holds, by contract; what is not known yet is counted.

    Each frame has a row per ``source``, ``day``, ``kind``, ``name`` and ``value`` with ``row_count``, and with ``low``
    and ``high``: what the rows add up to when of several deliveries of a row the smallest or the largest one counts.
    The kinds are ``rows``, ``null``, ``range``, ``category`` (these add up cost; null when in several currencies, which
    stands in ``value`` for rows) and ``sum`` (the named measure).
    """
    import duckdb

    folder = home.warehouse / "checks" / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(duckdb.connect(config=duckdb_limits(home.spill))) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for name in ("batches", "files", "superseded"):
            path = literal(home.snapshot / f"{name}.parquet")
            connection.execute(
                f"create view {name} as select * exclude (change) from read_parquet({path}) where change != 'removed'"
            )
        return {contract: _refreshed(connection, home, PROFILED[contract], folder) for contract in PROFILED}


def _refreshed(connection: duckdb.DuckDBPyConnection, home: Home, profiled: Profiled, folder: Path) -> pl.DataFrame:
    """The kept profile without the periods that changed or went, and these counted again."""
    import polars as pl

    path = folder / f"{profiled.contract}.parquet"
    parts = _parts(connection, home, profiled)
    periods = _periods(parts, _hash(_query(profiled)))
    key = ["source", "period", "fingerprint"]
    kept = _kept(path)
    if kept is not None:
        kept = kept.join(periods.select(key), on=key, how="semi")
        new = periods.join(kept, on=key, how="anti")
    else:
        new = periods
    if kept is not None and new.is_empty():
        return kept.filter(pl.col("kind") != "period")
    counted = _counted(connection, home, profiled, parts, new)
    profile = counted if kept is None else pl.concat([kept, counted])
    scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    profile.write_parquet(scratch)
    os.replace(scratch, path)
    return profile.filter(pl.col("kind") != "period")


def _kept(path: Path) -> pl.DataFrame | None:
    """What was counted before; None where there is nothing, or nothing that can be read."""
    import polars as pl

    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return None


def _parts(connection: duckdb.DuckDBPyConnection, home: Home, profiled: Profiled) -> pl.DataFrame:
    """Which file of the lake holds rows of which period of which source; a file may stand in several months."""
    contract = CONTRACTS[profiled.contract]
    period = "files.usage_date"
    if not profiled.day:
        period = "cast(cast(batches.delivered_at as timestamp) as date)"
    elif not contract.partitioned:
        period = """
            cast(unnest(generate_series(
                date_trunc('month', files.min_date), date_trunc('month', files.max_date), interval 1 month
            )) as date)
        """
    return connection.sql(
        f"""
        select
            batches.source,
            {period} as period,
            files.path as part,
            {literal(str(home.lake) + "/")} || files.path as path,
            coalesce((
                select string_agg(
                    concat_ws(' ', billing_account_id, billing_period_start), ';'
                    order by billing_account_id, billing_period_start
                )
                from superseded where superseded.batch_id = files.batch_id
            ), '') as superseded
        from files
        inner join batches on files.batch_id = batches.batch_id and files.contract = batches.contract
        where files.contract = $contract
        """,
        params={"contract": contract.name},
    ).pl()


def _periods(parts: pl.DataFrame, recipe: str) -> pl.DataFrame:
    """The periods there are, and the fingerprint of what each is counted from and how."""
    import polars as pl

    listed = parts.group_by("source", "period").agg(
        pl.concat_str("part", "superseded", separator="|").sort().str.join("\n").alias("listing")
    )
    return listed.select(
        "source",
        "period",
        pl.col("listing")
        .map_elements(lambda listing: _hash(recipe + listing), return_dtype=pl.String)
        .alias("fingerprint"),
    )


def _counted(
    connection: duckdb.DuckDBPyConnection, home: Home, profiled: Profiled, parts: pl.DataFrame, periods: pl.DataFrame
) -> pl.DataFrame:
    wanted = parts.join(periods, on=["source", "period"])
    connection.register("wanted_parts", wanted.to_arrow())
    connection.register("wanted_periods", periods.to_arrow())
    # the zero-row file has every column, the oldest files may not
    empty = f"{home.lake}/{profiled.contract}/00-no-rows.parquet"
    listing = ", ".join(literal(path) for path in [empty, *wanted["path"].unique(maintain_order=True)])
    return connection.sql(_query(profiled).replace("$files", f"[{listing}]")).pl()


def _query(profiled: Profiled) -> str:
    """SQL of the profile of the periods in ``wanted_periods``, from the files ``$files`` of ``wanted_parts``."""
    contract = CONTRACTS[profiled.contract]
    key = ", ".join(contract.key)
    measures = {
        "amount": profiled.amount or "null",
        **{f"sum_{name}": expression for name, expression in profiled.sums.items()},
    }
    in_period = f"and {profiled.period} = parts.period" if profiled.day else ""
    columns = [f"{profiled.day or 'parts.period'} as profile_day", f"{profiled.currency} as profile_currency"]
    columns += [f"cast({profiled.sum_by} as varchar) as profile_sum_by"]
    columns += [f"cast({expression} as {_MONEY}) as {name}" for name, expression in measures.items()]
    columns += [f"({expression}) is not null as has_{name}" for name, expression in profiled.nulls.items()]
    columns += [f"coalesce({condition}, false) as is_{name}" for name, condition in profiled.ranges.items()]
    columns += [f"cast({column} as varchar) as category_{column}" for column in profiled.categories]
    merged = ["max(profile_currency) as profile_currency", "max(profile_sum_by) as profile_sum_by"]
    merged += [f"min({name}) as low_{name}, max({name}) as high_{name}" for name in measures]
    merged += [f"bool_or(has_{name}) as has_{name}" for name in profiled.nulls]
    # a later delivery may have put it right
    merged += [f"bool_and(is_{name}) as is_{name}" for name in profiled.ranges]
    merged += [f"max(category_{column}) as category_{column}" for column in profiled.categories]
    superseded = ""
    if "billing_period_start" in contract.column_names:
        superseded = """
        where not exists (
            select 1 from superseded
            where
                superseded.batch_id = lines.batch_id
                and coalesce(superseded.billing_account_id, '') = coalesce(lines.billing_account_id, '')
                and superseded.billing_period_start = lines.billing_period_start
        )"""
    return f"""
with delivered as (
    select
        lines.{", lines.".join(contract.key)}{"" if "source" in contract.key else ", lines.source"},
        parts.period,
        parts.fingerprint,
        {", ".join(columns)}
    from read_parquet($files, union_by_name = true, hive_partitioning = false, filename = 'part_path') as lines
    inner join wanted_parts as parts on lines.part_path = parts.path {in_period}
    inner join batches on lines.batch_id = batches.batch_id and batches.contract = '{contract.name}'{superseded}
),

-- the grain changes: a row that came in several deliveries is one
known as (
    select source, period, fingerprint, profile_day as day, {", ".join(merged)}
    from delivered
    group by source, period, fingerprint, profile_day, {key}
),

{_counts(profiled)}
"""


def _counts(profiled: Profiled) -> str:
    place = "source, period, fingerprint, day"
    amounts = """
        case when count(distinct profile_currency) = 1 then sum(low_amount) end as low,
        case when count(distinct profile_currency) = 1 then sum(high_amount) end as high"""
    selects = [
        f"""select {place}, 'rows' as kind, '' as name,
        case when count(distinct profile_currency) = 1 then min(profile_currency) end as value,
        count(*) as row_count, {amounts} from known group by {place}"""
    ]
    for kind, names, condition in (("null", profiled.nulls, "not has_{}"), ("range", profiled.ranges, "is_{}")):
        selects += [
            f"""select {place}, '{kind}' as kind, '{name}' as name, '' as value, count(*) as row_count, {amounts}
        from known where {condition.format(name)} group by {place}"""
            for name in names
        ]
    selects += [
        f"""select {place}, 'category' as kind, '{column}' as name, value, sum(row_count) as row_count,
        sum(low) as low, sum(high) as high
        from (
            select {place}, row_count, low, high,
                case when value_rank <= {_MAX_CATEGORY_VALUES} then value else '{OTHERS}' end as value
            from (
                select *, row_number() over (partition by {place} order by row_count desc, value) as value_rank
                from (
                    select {place}, category_{column} as value, count(*) as row_count, {amounts}
                    from known where category_{column} is not null group by {place}, category_{column}
                ) as counted
            ) as ranked
        ) as shortened
        group by {place}, value"""
        for column in profiled.categories
    ]
    selects += [
        f"""select {place}, 'sum' as kind, '{name}' as name, profile_sum_by as value, count(*) as row_count,
        sum(low_sum_{name}) as low, sum(high_sum_{name}) as high from known group by {place}, profile_sum_by"""
        for name in profiled.sums
    ]
    # a period whose rows were all replaced is known too
    selects.append(
        """select source, period, fingerprint, null as day, 'period' as kind, '' as name, '' as value, 0 as row_count,
        null as low, null as high from wanted_periods"""
    )
    union = "\n    union all\n    ".join(selects)
    return f"""counts as (
    {union}
)

select
    source, cast(period as date) as period, fingerprint, cast(day as date) as day, kind, name, value,
    cast(row_count as bigint) as row_count, cast(low as {_MONEY}) as low, cast(high as {_MONEY}) as high
from counts
order by all"""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
