"""The truth about the sample, from the generator's own state: what the warehouse must arrive at.

Nothing is read back from the files. Money is in exact integers or decimals until it is written.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import numpy as np
import polars as pl

from ingest.sample import bills, pricing
from ingest.sample import fleet as fleets
from ingest.sample.allocation import STATES, Hour, allocate, gpu_hours
from ingest.sample.attempts import OK, SCHEMA
from ingest.sample.bill_files import Rates, money
from ingest.sample.files import Files
from ingest.sample.fleet import Fleet
from ingest.sample.gateway_files import LATE_DAYS
from ingest.sample.world import (
    FLAGSHIP,
    PRICE_CUT,
    SHARED_PREFIX_TOKENS,
    TASK_TYPE_ALIASES,
    TEAM_ALIASES,
    World,
    epoch_ms,
    midnight,
)

UNTAGGED = "__untagged__"
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)

RULES = {
    "cost": "tokens of each bucket x the list price in force when the attempt started (UTC); reasoning is part of "
    "output. A failed attempt costs what its billed tokens cost: rate_limited, server_error and unknown failures have "
    "no tokens and cost 0, the others are billed for their input.",
    "sums": "the cost of a group is the sum over its priced attempts, 0 where it has none; see priced_attempts. A task "
    "without a priced attempt has a null cost (an empty cell).",
    "unpriced": "models without a price (no_price) have a null cost.",
    "allocated": "a call to an own server costs its time in flight, each instant shared evenly by the calls in flight "
    "on the machine, cut at the hour, at the hour's dollars per billed second.",
    "fully_loaded": "cost, and for calls to own servers their share of the loaded idle and unallocated dollars of each "
    "machine and UTC day on which they were in flight, by what each cost there. Days without calls leave their idle "
    "dollars to nobody.",
    "active_without_calls_usd": "active dollars of a machine's day less what its calls in flight cost on it.",
    "team_and_task_type": "the log's label through company/aliases.csv; where it has none, the task list's; else "
    "__untagged__.",
    "task": "task_id label, else session id, else call id. Rows without any id make no task.",
    "started_date": "UTC date of the task's first attempt.",
    "status": "failed where the gateway says failure; rejected where the next attempt of the same call carries a "
    "retry_reason, whatever the gateway says; else success.",
    "cause": "of a rejected attempt the next attempt's retry_reason; of a failed one its error; unknown where it has "
    "no error (all failures of untagged calls, whose metadata is empty).",
    "step": "(task, step_name, step_index) where the call has a step_index, else (source, call_id).",
    "final_success": "the last successful attempt of a step by (started_at, attempt_number, call_id); earlier "
    "successful ones are superseded.",
    "recovered": "failed or rejected, and its step has a final success.",
    "abandoned": "failed or rejected, its step has no success, and the task's outcome is known (not null, not "
    "unknown).",
    "unresolved": "failed or rejected, its step has no success, and the task's outcome is unknown or there is no task.",
    "outcome": "newest non-null label of the task list; unknown where there is none.",
    "billed_seconds": "consumed hours x GPUs x 3600, of the bill's last delivery.",
    "active_seconds": "hour by hour the greater of what samples and calls say. Samples: sum of interval x "
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE, or DCGM_FI_DEV_GPU_UTIL / 100 on GPUs without profiling metrics; a sample stands "
    "for the interval that begins at its time. Calls: time in which at least one is in flight.",
    "loaded_idle_seconds": "sampled seconds of an hour that are not active while a pod holds the GPU; where calls tell "
    "of more activity than the samples, that time is taken off.",
    "unallocated_seconds": "sampled seconds that are not active while no pod holds the GPU.",
    "unknown_seconds": "billed seconds without a sample, less those in which calls alone were seen.",
    "gpu_dollars": "a bill line's effective cost in USD, shared by the seconds of the four states within its charge "
    "period.",
    "usd": "amount x usd_per_unit, where usd_per_unit = 1 / rate rounded half up to 12 places, at the last rate "
    "published on or before the UTC date on which the charge period starts.",
    "invoice_kinds": "gpu_usage: usage of machines with GPUs, on demand, spot or covered by a commitment. "
    "unused_commitment: usage lines with commitment status Unused. model_charges: Amazon Bedrock. other: all other "
    "usage. tax, credit, adjustment, purchase: by charge category.",
    "restatement": "each bill was delivered twice a month; only the second delivery counts.",
}


def write_truth(
    world: World,
    attempts: pl.DataFrame,
    labels: pl.DataFrame,
    fleet: Fleet,
    rates: Rates,
    sources: dict[str, dict],
    files: Files,
) -> None:
    """Work out and write truth.json and truth/*.csv."""
    lines = bills.final_lines(world, fleet)
    calls = judge(attempts, labels)
    hours = gpu_hours(calls, fleet, lines, rates, world)
    calls = allocate(calls, hours)
    gpu_days = _gpu_days(hours, rates)
    invoices = _invoices(lines, rates)
    tasks = _tasks(calls)
    tables = {
        "tasks": tasks,
        "cost_by_day": _cost(calls, "usage_date", "team", "task_type"),
        "tasks_by_day": _tasks_by_day(tasks),
        "retries": _retries(calls),
        "retry_causes": _retry_causes(calls, "usage_date", "team", "task_type", "model", "cause"),
        "allocations": _allocations(calls),
        "gpu_days": gpu_days,
        "invoices": invoices,
    }
    written_at = midnight(world.end_date)
    failed = calls.filter(pl.col("is_failed"))
    truth = {
        "parameters": {
            "days": world.days,
            "scale": world.scale,
            "seed": world.seed,
            "first_date": world.first_date.isoformat(),
            "last_date": world.dates[-1].isoformat(),
        },
        "rules": RULES,
        "planted": _planted(world, calls, labels, fleet),
        "totals": {
            "attempts": len(calls),
            "tasks": len(tasks),
            "tasks_by_origin": _counts(tasks, "task_id_origin"),
            "tasks_by_outcome": _counts(tasks, "outcome"),
            "cost_usd": pricing.usd(_sum(calls["cost"])),
            "allocated_cost_usd": pricing.usd(_sum(calls["allocated_cost"])),
            "idle_share_usd": pricing.usd(_sum(calls["idle_share"])),
            "fully_loaded_cost_usd": pricing.usd(_sum(calls["fully_loaded_cost"])),
            "priced_attempts": int(calls["cost"].is_not_null().sum()),
            "unpriced_attempts": _counts(calls.filter(pl.col("cost").is_null()), "unpriced_reason"),
            "untagged_attempts": {
                "task_type": int((calls["task_type"] == UNTAGGED).sum()),
                "team": int((calls["team"] == UNTAGGED).sum()),
                "no_metadata": int((~calls["has_labels"]).sum()),
                "no_task": int(calls["task_id"].is_null().sum()),
            },
            "failed_attempts": len(failed),
            "failed_cost_usd": pricing.usd(_sum(failed["cost"])),
            "superseded_cost_usd": pricing.usd(_sum(calls.filter(pl.col("is_superseded"))["cost"])),
            "final_success_cost_usd": pricing.usd(_sum(calls.filter(pl.col("is_final"))["cost"])),
        },
        "cost_by_team": _records(_cost(calls, "team")),
        "cost_by_task_type": _records(_cost(calls, "task_type")),
        "cost_by_model": _records(_cost(calls, "model")),
        "failed_by_cause": _records(_retry_causes(calls, "cause")),
        "gpu": _records(_gpu_totals(gpu_days)),
        "invoices": _records(invoices),
        "usd_per_unit": {
            currency: {
                day.isoformat(): str(rates.usd_per_unit(currency, day))
                for day in sorted({line.charge_date for line in lines})
            }
            for currency in ("INR", "GBP")
        },
        "sources": {name: _source(count) for name, count in sources.items()},
        "tables": {name: f"truth/{name}.csv" for name in tables} | {"files": "truth/files.csv"},
    }
    landed = pl.DataFrame(
        {
            "path": [path for path, *_ in files.written],
            "bytes": [size for _, size, _ in files.written],
            "delivered_at": [moment.isoformat() for *_, moment in files.written],
        }
    )
    for name, table in tables.items():
        files.write(f"truth/{name}.csv", table.write_csv(), written_at)
    files.write("truth/files.csv", landed.write_csv(), written_at)
    files.write("truth.json", json.dumps(truth, indent=1) + "\n", written_at)


def judge(attempts: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Each attempt with its task, final labels, status, cause, and what its step and task made of it."""
    # a task whose outcome nobody wrote down is not in the task lists at all
    labelled = labels.filter(pl.col("outcome").is_not_null()).select(
        "task_id",
        "outcome",
        pl.col("task_type").alias("listed_task_type"),
        pl.col("team").alias("listed_team"),
        "complexity",
    )
    call_id = pl.coalesce("call_label", pl.when(pl.col("request_id") != "").then(pl.col("request_id")))
    calls = (
        attempts.with_columns(
            call_id=call_id,
            task_id=pl.coalesce("task_label", "session_id", call_id),
            task_id_origin=pl.when(pl.col("task_label").is_not_null())
            .then(pl.lit("task"))
            .when(pl.col("session_id").is_not_null())
            .then(pl.lit("session"))
            .when(call_id.is_not_null())
            .then(pl.lit("call")),
            usage_date=pl.from_epoch(pl.col("started_ms"), time_unit="ms").dt.date(),
        )
        .with_row_index("row")
        .join(labelled, on="task_id", how="left", maintain_order="left")
        .with_columns(
            outcome=pl.col("outcome").fill_null("unknown"),
            team=pl.coalesce("team_label", "team_alias").replace(TEAM_ALIASES).fill_null(pl.col("listed_team")),
            task_type=pl.col("task_type").replace(TASK_TYPE_ALIASES).fill_null(pl.col("listed_task_type")),
        )
        .with_columns(pl.col("team").fill_null(UNTAGGED), pl.col("task_type").fill_null(UNTAGGED))
    )
    step = (
        pl.when(pl.col("task_id").is_not_null() & pl.col("step_index").is_not_null())
        .then(pl.format("{}|{}|{}", "task_id", "step_name", "step_index"))
        .otherwise(pl.format("call|{}|{}", "source", pl.coalesce("call_id", pl.col("row").cast(pl.String))))
    )
    is_failed = pl.col("kind") != OK
    calls = calls.with_columns(
        step=step,
        is_failed=is_failed,
        status=pl.when(pl.col("kind") == OK)
        .then(pl.lit("success"))
        .when(pl.col("kind") == SCHEMA)
        .then(pl.lit("rejected"))
        .otherwise(pl.lit("failed")),
        cause=pl.when(is_failed).then(pl.when(pl.col("has_labels")).then(pl.col("kind")).otherwise(pl.lit("unknown"))),
    )
    last = (
        calls.filter(~pl.col("is_failed"))
        .sort("started_ms", "attempt_number", "call_id")
        .group_by("step")
        .agg(pl.col("row").last().alias("final_row"))
    )
    calls = calls.join(last, on="step", how="left", maintain_order="left")
    has_success = pl.col("final_row").is_not_null()
    return calls.with_columns(
        is_final=~pl.col("is_failed") & (pl.col("row") == pl.col("final_row")),
        is_superseded=~pl.col("is_failed") & (pl.col("row") != pl.col("final_row")),
        ending=pl.when(pl.col("is_failed")).then(
            pl.when(has_success)
            .then(pl.lit("recovered"))
            .when((pl.col("outcome") != "unknown") & pl.col("task_id").is_not_null())
            .then(pl.lit("abandoned"))
            .otherwise(pl.lit("unresolved"))
        ),
    )


def _usd(name: str, condition: pl.Expr | None = None, cost: str = "cost") -> pl.Expr:
    """Sum of priced attempts, as whole 1e-12 USD; 0 where there are none."""
    column = pl.col(cost) if condition is None else pl.col(cost).filter(condition)
    return column.sum().alias(name)


def _cost(calls: pl.DataFrame, *keys: str) -> pl.DataFrame:
    return (
        calls.group_by(keys)
        .agg(
            pl.len().alias("attempts"),
            pl.col("cost").is_not_null().sum().alias("priced_attempts"),
            pl.col("input_tokens").sum(),
            pl.col("output_tokens").sum(),
            pl.col("cache_read_tokens").sum(),
            _usd("cost_usd"),
            _usd("allocated_cost_usd", cost="allocated_cost"),
            _usd("fully_loaded_cost_usd", cost="fully_loaded_cost"),
        )
        .sort(keys)
        .with_columns(pricing.usd_column(name) for name in ("cost_usd", "allocated_cost_usd", "fully_loaded_cost_usd"))
    )


def _tasks(calls: pl.DataFrame) -> pl.DataFrame:
    priced = pl.col("cost").is_not_null()
    return (
        calls.filter(pl.col("task_id").is_not_null())
        .group_by("task_id")
        .agg(
            pl.col("task_id_origin").first(),
            pl.col("task_type").first(),
            pl.col("team").first(),
            pl.col("usage_date").min().alias("started_date"),
            pl.col("outcome").first(),
            pl.col("complexity").first(),
            pl.col("call_id").n_unique().alias("call_count"),
            pl.len().alias("attempt_count"),
            pl.col("tool_call_count").sum(),
            priced.all().alias("is_fully_priced"),
            pl.when(priced.any()).then(pl.col("cost").sum()).alias("cost_usd"),
            _usd("allocated_cost_usd", cost="allocated_cost"),
            pl.when(priced.any()).then(pl.col("fully_loaded_cost").sum()).alias("fully_loaded_cost_usd"),
            _usd("failed_attempt_cost_usd", pl.col("is_failed")),
        )
        .sort("task_id")
        .with_columns(
            pricing.usd_column(name)
            for name in ("cost_usd", "allocated_cost_usd", "fully_loaded_cost_usd", "failed_attempt_cost_usd")
        )
    )


def _allocations(calls: pl.DataFrame) -> pl.DataFrame:
    """One row per attempt that an own server answered."""
    names = {"allocated_cost": "cost_usd", "fully_loaded_cost": "fully_loaded_cost_usd"}
    return (
        calls.filter(pl.col("allocated_cost").is_not_null())
        .select("source", "call_id", "attempt_number", "usage_date", "replica_id", *names)
        .sort("usage_date", "call_id", "attempt_number")
        .with_columns(pricing.usd_column(name) for name in names)
        .rename(names)
    )


def _tasks_by_day(tasks: pl.DataFrame) -> pl.DataFrame:
    outcome = pl.col("outcome")
    names = ("cost_usd", "allocated_cost_usd", "fully_loaded_cost_usd")
    return (
        tasks.with_columns(pl.col(name).str.replace(".", "", literal=True).cast(pl.Int64) for name in names)
        .group_by("started_date", "team", "task_type")
        .agg(
            pl.len().alias("tasks"),
            (outcome == "success").sum().alias("successful_tasks"),
            (outcome == "failure").sum().alias("failed_tasks"),
            (outcome == "escalated").sum().alias("escalated_tasks"),
            (outcome == "unknown").sum().alias("unknown_outcome_tasks"),
            pl.col("is_fully_priced").sum().alias("fully_priced_tasks"),
            *(pl.col(name).sum() for name in names),
        )
        .sort("started_date", "team", "task_type")
        .with_columns(pricing.usd_column(name) for name in names)
    )


def _retries(calls: pl.DataFrame) -> pl.DataFrame:
    keys = ("usage_date", "team", "task_type", "model")
    failed = pl.col("is_failed")
    money_columns = [
        _usd("failed_cost_usd", failed),
        *(
            _usd(f"{ending}_cost_usd", pl.col("ending") == ending)
            for ending in ("recovered", "abandoned", "unresolved")
        ),
        _usd("superseded_cost_usd", pl.col("is_superseded")),
        _usd("final_success_cost_usd", pl.col("is_final")),
        _usd("total_cost_usd"),
        _usd("allocated_cost_usd", cost="allocated_cost"),
    ]
    table = calls.group_by(keys).agg(pl.len().alias("attempts"), failed.sum().alias("failed_attempts"), *money_columns)
    names = [name for name in table.columns if name.endswith("_usd")]
    return table.sort(keys).with_columns(pricing.usd_column(name) for name in names)


def _retry_causes(calls: pl.DataFrame, *keys: str) -> pl.DataFrame:
    table = (
        calls.filter(pl.col("is_failed"))
        .group_by(keys)
        .agg(
            pl.len().alias("failed_attempts"),
            *(
                (pl.col("ending") == ending).sum().alias(f"{ending}_attempts")
                for ending in ("recovered", "abandoned", "unresolved")
            ),
            _usd("failed_cost_usd"),
            _usd("allocated_cost_usd", cost="allocated_cost"),
            *(
                _usd(f"{ending}_cost_usd", pl.col("ending") == ending)
                for ending in ("recovered", "abandoned", "unresolved")
            ),
        )
    )
    names = [name for name in table.columns if name.endswith("_usd")]
    return table.sort(keys).with_columns(pricing.usd_column(name) for name in names)


def _gpu_days(hours: list[Hour], rates: Rates) -> pl.DataFrame:
    """Seconds and dollars of each state by machine and UTC day."""
    days: dict[tuple, dict] = {}
    machines = {}
    for hour in hours:
        line, machine = hour.line, hour.machine
        machines[machine.resource_id] = machine
        day = days.setdefault((line.charge_date, machine.resource_id), defaultdict(Fraction))
        billed_usd = Fraction(rates.usd(line.billed, machine.site.currency, line.charge_date))
        day["billed_seconds"] += hour.billed
        day["effective_local"] += hour.share_of_line * line.effective / bills.MICRO
        day["effective_cost_usd"] += hour.effective
        day["billed_cost_usd"] += hour.share_of_line * billed_usd
        day["active_without_calls_usd"] += hour.usd(hour.seconds["active"]) - hour.called_usd
        for state, seconds in hour.seconds.items():
            day[f"{state}_seconds"] += seconds
            day[f"{state}_usd"] += hour.usd(seconds)
    rows = []
    for (charge_date, resource_id), day in sorted(days.items()):
        machine = machines[resource_id]
        of = {name: _EXACT.divide(value.numerator, value.denominator) for name, value in day.items()}
        rows.append(
            {
                "usage_date": charge_date,
                "resource_id": resource_id,
                "region": machine.site.region,
                "instance_type": machine.instance_type,
                "gpu_count": machine.gpu_count,
                "purchase_mode": machine.purchase_mode,
                "currency": machine.site.currency,
                "billed_seconds": _plain(of["billed_seconds"]),
                **{f"{state}_seconds": _plain(of[f"{state}_seconds"]) for state in STATES},
                "effective_cost_local": _plain(of["effective_local"]),
                "effective_cost_usd": _twelve(of["effective_cost_usd"]),
                "billed_cost_usd": _twelve(of["billed_cost_usd"]),
                **{f"{state}_usd": _twelve(of[f"{state}_usd"]) for state in STATES},
                "active_without_calls_usd": _twelve(of["active_without_calls_usd"]),
            }
        )
    return pl.DataFrame(rows)


def _gpu_totals(days: pl.DataFrame) -> pl.DataFrame:
    keys = ["resource_id", "region", "instance_type", "gpu_count", "purchase_mode", "currency"]
    names = [name for name in days.columns if name.endswith(("_seconds", "_usd", "_local"))]
    sums = defaultdict(lambda: defaultdict(Decimal))
    for row in days.iter_rows(named=True):
        for name in names:
            sums[tuple(row[key] for key in keys)][name] += Decimal(row[name])
    return pl.DataFrame(
        [
            dict(zip(keys, key, strict=True)) | {name: _plain(of[name]) for name in names}
            for key, of in sorted(sums.items())
        ]
    )


def _invoices(lines: list[bills.Line], rates: Rates) -> pl.DataFrame:
    """Billed and effective totals by billing month, account and kind of line; the invoice's total is its own row."""
    sums: dict[tuple, dict] = {}
    for line in lines:
        account = bills.ACCOUNTS[line.source]
        for kind in (line.kind, "total"):
            of = sums.setdefault((line.billing_month, account.account_id, kind), defaultdict(Decimal))
            of["lines"] += 1
            for name, micro in (("billed", line.billed), ("effective", line.effective)):
                of[f"{name}_local"] += micro
                of[f"{name}_usd"] += rates.usd(micro, account.currency, line.charge_date)
    currencies = {account.account_id: account.currency for account in bills.ACCOUNTS.values()}
    sources = {account.account_id: account.source for account in bills.ACCOUNTS.values()}
    return pl.DataFrame(
        [
            {
                "billing_month": month,
                "source": sources[account_id],
                "billing_account_id": account_id,
                "currency": currencies[account_id],
                "kind": kind,
                "lines": int(of["lines"]),
                "billed_cost_local": money(int(of["billed_local"])),
                "effective_cost_local": money(int(of["effective_local"])),
                "billed_cost_usd": _twelve(of["billed_usd"]),
                "effective_cost_usd": _twelve(of["effective_usd"]),
            }
            for (month, account_id, kind), of in sorted(sums.items())
        ]
    )


def _planted(world: World, calls: pl.DataFrame, labels: pl.DataFrame, fleet: Fleet) -> dict:
    """What was put in on purpose, and where to find it."""
    support = calls.filter(pl.col("task_type") == "support_ticket")
    answers = support.filter(pl.col("step_name") == "answer")
    prefix = support.filter(pl.col("prefix_tokens") == SHARED_PREFIX_TOKENS)
    flagship = calls.filter(pl.col("model") == FLAGSHIP)
    cut = epoch_ms(PRICE_CUT)
    over_cut = (
        support.group_by("task_id")
        .agg(pl.col("started_ms").min().alias("first"), pl.col("started_ms").max().alias("last"))
        .filter((pl.col("first") < cut) & (pl.col("last") >= cut))
    )
    rounds = (
        calls.filter((pl.col("step_name") == "reclassify") & pl.col("is_final"))
        .group_by("task_id", "complexity")
        .agg(pl.len().alias("iterations"))
    )
    repeated = answers.filter(pl.col("prompt_hash").str.starts_with("faq-"))
    gap_start = midnight(world.gap_day)
    return {
        "prefix_caching": {
            "on_at": world.caching_on.isoformat(),
            "prefix_tokens": SHARED_PREFIX_TOKENS,
            "cache_read_tokens_before": int(
                prefix.filter(pl.col("started_ms") < epoch_ms(world.caching_on))["cache_read_tokens"].sum()
            ),
            "cache_read_tokens_after": int(
                prefix.filter(pl.col("started_ms") >= epoch_ms(world.caching_on))["cache_read_tokens"].sum()
            ),
        },
        "schema_retries": {
            "tickets": support["task_id"].n_unique(),
            "retried_tickets": answers.filter(pl.col("status") == "rejected")["task_id"].n_unique(),
        },
        "faq_repeats": {"attempts": len(repeated), "prompts": repeated["prompt_hash"].n_unique()},
        "router_confidences": int(calls["router_confidence"].is_not_null().sum()),
        "judge_attempts": int((calls["call_kind"] == "judge").sum()),
        "reasoning_tokens": int(calls["reasoning_tokens"].sum()),
        "iterations_by_complexity": {
            complexity: {"least": low, "most": high}
            for complexity, low, high in rounds.filter(pl.col("complexity").is_not_null())
            .group_by("complexity")
            .agg(pl.col("iterations").min().alias("low"), pl.col("iterations").max().alias("high"))
            .sort("complexity")
            .iter_rows()
        },
        "price_cut": {
            "model": FLAGSHIP,
            "at": midnight(PRICE_CUT).isoformat(),
            "attempts_before": int((flagship["started_ms"] < cut).sum()),
            "attempts_after": int((flagship["started_ms"] >= cut).sum()),
            "tickets_over_the_cut": over_cut["task_id"].sort().to_list(),
        },
        "late_file": {
            "path": f"landing/gateway/london/spend_logs_{world.late_day}.jsonl.gz",
            "usage_date": world.late_day.isoformat(),
            "days_late": LATE_DAYS,
        },
        "file_delivered_twice": {"gateway": "bengaluru", "usage_date": world.repeated_day.isoformat()},
        "malformed_lines": {"gateway": "bengaluru", "file_date": world.malformed_day.isoformat()},
        "restated_bills": {
            "day_gone": world.restated_day.isoformat(),
            "gone_from": {
                bills.GLOBAL: "all usage lines of the day",
                fleets.MUMBAI.bill_source: [
                    machine.resource_id
                    for machine in fleet.machines
                    if machine.site is fleets.MUMBAI and not machine.is_sampled
                ],
            },
        },
        "missing_samples": {
            "site": fleets.MUMBAI.name,
            "from": gap_start.replace(hour=world.gap_hours[0]).isoformat(),
            "to": gap_start.replace(hour=world.gap_hours[1]).isoformat(),
        },
        "never_sampled": [machine.resource_id for machine in fleet.machines if not machine.is_sampled],
        "evictions": [
            {
                "at": epoch_text(eviction.at),
                "resource_id": eviction.resource_id,
                "replica_id": eviction.replica_id,
                "next_replica_id": eviction.next_replica_id,
            }
            for eviction in fleet.evictions
        ],
        "hostname_label_renamed_on": world.label_renamed_day.isoformat(),
        "relabelled_tasks": int(labels["is_relabelled"].sum()),
        "hedged_attempts": int(calls["is_superseded"].sum()),
        "gpu_samples": {name: len(samples) for name, samples in fleet.samples.items()},
    }


def epoch_text(seconds: int) -> str:
    """An ISO time of seconds since 1970."""
    return str(np.datetime64(seconds, "s")) + "+00:00"


def _source(count: dict) -> dict:
    count = dict(count)
    count["rows_read"] = count["rows_loaded"] + count["rows_quarantined"] + count["rows_skipped"]
    return count


def _sum(column: pl.Series) -> int:
    return int(column.sum() or 0)


def _counts(table: pl.DataFrame, column: str) -> dict[str, int]:
    return {str(key): count for key, count in table.group_by(column).len().sort(column).iter_rows()}


def _records(table: pl.DataFrame) -> list[dict]:
    return table.with_columns(pl.selectors.date().cast(pl.String)).to_dicts()


def _twelve(value: Decimal) -> str:
    return f"{value.quantize(Decimal('1e-12'), ROUND_HALF_EVEN, _EXACT):f}"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


__all__ = ["RULES", "UNTAGGED", "judge", "write_truth"]
