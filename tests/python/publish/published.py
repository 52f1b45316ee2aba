"""A small published file, made by hand: two days of August 2026 and one of September, easy to do in the head.

On the days between there was nothing to pay for: calls and GPUs have rows of zeros.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import duckdb

from pertask.home import Home

MONEY = "decimal(38, 12)"
REST_OF_A_LINE = "'0042', 'EUR', null, '2026-09-01', '2026-09-02'"
"""The last columns of a line of a bill: its account, currency and cost in it, the end of its period, its delivery"""
TABLES = {
    "main.publication": (
        {
            "published_at": "timestamp",
            "build_id": "varchar",
            "built_at": "timestamp",
            "batch_count": "bigint",
            "newest_delivery_at": "timestamp",
        },
        "('2026-09-03 02:10', '20260903T020000-abc123', '2026-09-03 02:00', 7, '2026-09-02 23:00')",
    ),
    "core.fct_call_attempts": (
        {
            **{"usage_date": "date", "cost_basis": "varchar", "cost_usd": MONEY, "sample_weight": "decimal(18, 6)"},
            "unpriced_reason": "varchar",
        },
        """
        ('2026-08-01', 'metered', 100, 1, null), ('2026-08-31', 'metered', 50, 2, null),
        ('2026-08-31', 'duplicate', null, 1, null), ('2026-08-31', 'allocated', 0.75, 1, null),
        ('2026-09-01', 'metered', 9, 1, null), ('2026-08-31', 'unpriced', null, 1, 'no_price_for_tool')
        """,
    ),
    "core.fct_gpu_hours": (
        {
            **{"usage_date": "date", "effective_cost_usd": MONEY, "active_usd": MONEY, "loaded_idle_usd": MONEY},
            **{"unallocated_usd": MONEY, "unknown_usd": MONEY, "unused_commitment_usd": MONEY},
            **{"is_provisional": "boolean", "billed_seconds": "decimal(18, 6)"},
        },
        """
        ('2026-08-01', 40, 10, 20, 5, 5, 0, false, 7200), ('2026-08-01', 0, 0, 0, 0, 0, 3, false, 0),
        ('2026-08-31', 1, 1, 0, 0, 0, 0, false, 3600), ('2026-09-01', 8, 2, 6, 0, 0, 0, true, 3600)
        """,
    ),
    "core.fct_bill_lines": (
        {
            **{"source": "varchar", "line_id": "varchar", "usage_date": "date", "billing_period_start": "timestamp"},
            **{"line_kind": "varchar", "billed_cost_usd": MONEY, "effective_cost_usd": MONEY},
            **{"is_under_commitment": "boolean", "billing_account_id": "varchar", "billing_currency": "varchar"},
            **{"billed_cost": MONEY, "billing_period_end": "timestamp", "delivered_at": "timestamp"},
        },
        f"""
        ('cloud', 'gpu', '2026-08-01', '2026-08-01', 'gpu_usage', 42, 42, false, {REST_OF_A_LINE}),
        ('cloud', 'late', '2026-08-31', '2026-08-01', 'gpu_usage', 1, 1, false, {REST_OF_A_LINE}),
        ('cloud', 'unused', '2026-08-01', '2026-08-01', 'unused_commitment', 0, 3, true, {REST_OF_A_LINE}),
        ('cloud', 'fee', '2026-08-01', '2026-08-01', 'purchase', 5, 0, true, {REST_OF_A_LINE}),
        ('cloud', 'disk', '2026-08-31', '2026-08-01', 'other', 6, 6, false, {REST_OF_A_LINE}),
        ('cloud', 'tax', '2026-08-31', '2026-08-01', 'tax', 7, 7, false, {REST_OF_A_LINE}),
        ('cloud', 'credit', '2026-08-01', '2026-08-01', 'credit', -4, -4, false, {REST_OF_A_LINE}),
        ('cloud', 'refund', '2026-07-20', '2026-08-01', 'adjustment', -1, -1, false, {REST_OF_A_LINE}),
        ('cloud', 'tokens', '2026-08-31', '2026-08-01', 'model_charges', 90, 90, false, {REST_OF_A_LINE})
        """,
    ),
    # Of the 42 dollars of the first machine its GPUs carry 40.
    "core.fct_gpu_line_days": (
        {
            **{"source": "varchar", "line_id": "varchar", "usage_date": "date", "line_kind": "varchar"},
            "effective_cost_usd": MONEY,
        },
        """
        ('cloud', 'gpu', '2026-08-01', 'gpu_usage', 40), ('cloud', 'late', '2026-08-31', 'gpu_usage', 1),
        ('cloud', 'unused', '2026-08-01', 'unused_commitment', 3)
        """,
    ),
    "core.fct_tasks": (
        {
            **{"started_date": "date", "task_type": "varchar", "task_id_origin": "varchar", "cost_usd": MONEY},
            "is_fully_priced": "boolean",
        },
        """
        ('2026-08-01', 'ticket', 'task', 1, true), ('2026-08-01', 'ticket', 'task', 2, true),
        ('2026-08-31', 'ticket', 'task', 3, true), ('2026-08-31', 'ticket', 'trace', 90, true),
        ('2026-08-31', 'ticket', 'task', 70, false)
        """,
    ),
    "core.dim_task_types": (
        {"task_type": "varchar", "display_name": "varchar", "unit_noun": "varchar"},
        "('ticket', 'Support ticket', 'ticket')",
    ),
    "core.dim_teams": (
        {"team": "varchar", "display_name": "varchar"},
        "('support', 'Customer support'), ('research', null)",
    ),
    # 50, 80 and 100 rupees a dollar.
    "core.dim_fx_rates": (
        {"rate_day": "date", "currency": "varchar", "usd_per_unit": "decimal(18, 12)"},
        """
        ('2026-07-20', 'INR', 0.02), ('2026-08-01', 'INR', 0.0125), ('2026-08-31', 'INR', 0.01),
        ('2026-09-01', 'INR', 0.01), ('2026-08-01', 'USD', 1)
        """,
    ),
    "unit_economics.cost_per_task_daily": (
        {
            **{"started_date": "date", "task_type": "varchar", "tasks": "bigint", "successful_tasks": "bigint"},
            **{"fully_priced_tasks": "bigint", "cost_usd": MONEY, "fully_priced_cost_usd": MONEY},
            **{"fully_loaded_cost_per_task_usd": MONEY, "known_outcome_cost_usd": MONEY, "headline_cost_usd": MONEY},
            **{"headline_task_cost_usd": MONEY, "is_estimated": "boolean"},
        },
        """
        ('2026-08-01', 'ticket', 4, 2, 4, 6, 6, 2, 5, 2, 6, false),
        ('2026-08-31', 'ticket', 2, 1, 1, 5, 3, 4, 4, 1, 3, false),
        ('2026-08-31', '__untagged__', 0, 0, 0, 0.5, null, null, null, null, null, false),
        ('2026-09-01', 'ticket', 1, 1, 1, 9, 9, 9, 9, 9, 9, false)
        """,
    ),
    "unit_economics.retry_causes_daily": (
        {
            **{"usage_date": "date", "cause": "varchar", "failed_attempts": "bigint", "failed_cost_usd": MONEY},
            **{"recovered_cost_usd": MONEY, "abandoned_cost_usd": MONEY, "unresolved_cost_usd": MONEY},
        },
        "('2026-08-01', 'timeout', 3, 4, 2, 1, 1), ('2026-08-31', 'rate_limited', 5, 0, 0, 0, 0)",
    ),
    "unit_economics.retry_overhead_daily": (
        {
            **{"usage_date": "date", "attempts": "bigint", "failed_attempts": "bigint", "failed_cost_usd": MONEY},
            **{"superseded_cost_usd": MONEY, "total_cost_usd": MONEY},
        },
        "('2026-08-01', 50, 3, 4, 0.5, 32), ('2026-08-31', 30, 5, 0, 0, 0)",
    ),
    "capacity.idle_dollars_daily": (
        {
            **{"usage_date": "date", "team": "varchar", "billed_seconds": "decimal(38, 6)"},
            **{"unknown_seconds": "decimal(38, 6)", "effective_cost_usd": MONEY, "active_usd": MONEY},
            **{"idle_usd": MONEY, "unknown_usd": MONEY, "unused_commitment_usd": MONEY, "is_provisional": "boolean"},
        },
        """
        ('2026-08-01', 'support', 7200, 900, 40, 10, 25, 5, 0, false),
        ('2026-08-01', 'platform', 0, 0, 0, 0, 0, 0, 3, false),
        ('2026-08-31', 'research', 3600, 0, 1, 1, 0, 0, 0, false),
        ('2026-09-01', 'support', 3600, 0, 8, 2, 6, 0, 0, true)
        """,
    ),
    "capacity.gpu_utilisation_hourly": (
        {
            **{"usage_date": "date", "hour_at": "timestamp", "region": "varchar", "billed_seconds": "decimal(38, 6)"},
            **{"active_seconds": "decimal(38, 6)", "unknown_seconds": "decimal(38, 6)"},
        },
        """
        ('2026-08-01', '2026-08-01 18:00', 'ap-south-1', 3600, 900, 1800),
        ('2026-08-31', '2026-08-31 18:00', 'ap-south-1', 3600, 900, 1800),
        ('2026-08-31', '2026-08-31 23:00', 'eu-west-2', 3600, 3600, 0),
        ('2026-08-31', '2026-08-31 05:00', 'pune-1', 3600, 0, 0),
        ('2026-08-31', '2026-08-31 07:00', 'pune-1', 3600, 0, 3600)
        """,
    ),
    "quality.tag_coverage_daily": (
        {"usage_date": "date", "field": "varchar", "attempts": "bigint", "tagged_attempts": "bigint"},
        "('2026-08-01', 'task_id', 50, 49), ('2026-08-31', 'task_id', 30, 23), ('2026-08-31', 'prompt_version', 30, 1)",
    ),
    "quality.price_coverage_daily": (
        {"usage_date": "date", "attempts": "bigint", "priced_attempts": "bigint"},
        "('2026-08-01', 79, 79), ('2026-08-31', 1, 0)",
    ),
    # Of 90 dollars of tokens on the bill the log has 60.
    "quality.bill_reconciliation_daily": (
        {
            **{"usage_date": "date", "provider": "varchar", "basis": "varchar", "model": "varchar"},
            **{"billed_usd": MONEY, "priced_usd": MONEY, "suspects": "varchar", "billed_lines": "bigint"},
            "unconverted_lines": "bigint",
        },
        """
        ('2026-08-31', 'bedrock', 'cloud_bill', 'claude', 60, 58, null, 1, 0),
        ('2026-08-31', 'bedrock', 'cloud_bill', 'nova', 30, 0, 'not_in_log', 1, 0),
        ('2026-08-31', 'openai', 'vendor_report', 'gpt', 500, 0, 'not_in_log', 1, 0)
        """,
    ),
    "quality.invoice_walk_monthly": (
        {
            **{"source": "varchar", "billing_account_id": "varchar", "billing_period_start": "timestamp"},
            **{"billing_month": "date", "billing_currency": "varchar", "period_status": "varchar"},
            **{"delivered_at": "timestamp", "invoice_amount": MONEY, "invoice_usd": MONEY, "unexplained_usd": MONEY},
            **{"line_count": "bigint", "unconverted_line_count": "bigint"},
        },
        "('cloud', '0042', '2026-08-01', '2026-08-01', 'EUR', 'Closed', '2026-09-02', 1234.5, 146, 0, 9, 0)",
    ),
}


_DAYS_BETWEEN = {
    "unit_economics.cost_per_task_daily": "day, '__untagged__', 0, 0, 0, null, null, null, null, null, null, false",
    "capacity.idle_dollars_daily": "day, 'platform', 0, 0, 0, 0, 0, 0, 0, false",
}


def make_published(
    folder: Path, *, without: Collection[str] = (), only: Collection[str] | None = None, is_empty: bool = False
) -> Home:
    """A home with nothing but the published file.

    Args:
        folder: the home's folder.
        without: marts to leave out.
        only: the marts to have; default: all.
        is_empty: whether the marts have no rows.
    """
    home = Home(folder)
    home.published.mkdir(parents=True)
    with duckdb.connect(str(home.published_file)) as connection:
        for name, (columns, rows) in TABLES.items():
            if name in without or (only is not None and name not in only):
                continue
            connection.execute(f"create schema if not exists {name.split('.')[0]}")
            connection.execute(
                f"create table {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})"
            )
            if not is_empty:
                connection.execute(f"insert into {name} values {rows}")
            if name in _DAYS_BETWEEN and not is_empty:
                connection.execute(
                    f"insert into {name} select {_DAYS_BETWEEN[name]} "
                    "from range(date '2026-08-02', date '2026-08-31', interval 1 day) as days (day)"
                )
    return home


def change(home: Home, sql: str) -> None:
    """Change the published file."""
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute(sql)
