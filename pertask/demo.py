"""The sample company, run and read out: what a new user sees first."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.text import Text

from pertask.home import Home
from pertask.query import connect
from pertask.screen import Screen, print_table
from pertask.status import ask, coverage_lines

_TASKS = """
select
    task_type,
    sum(tasks),
    sum(cost_usd),
    sum(fully_priced_cost_usd) / nullif(sum(fully_priced_tasks), 0),
    sum(known_outcome_cost_usd) / nullif(sum(successful_tasks), 0)
from unit_economics.cost_per_task_daily
group by task_type
order by sum(cost_usd) desc nulls last, task_type
"""
_RETRIES = "select sum(failed_cost_usd), sum(total_cost_usd) from unit_economics.retry_overhead_daily"
_IDLE = "select sum(idle_usd), sum(unknown_usd), sum(effective_cost_usd) from capacity.idle_dollars_daily"


def report_findings(home: Home, screen: Screen) -> None:
    """Print what the published marts say of a home, in a few lines."""
    console = screen.console
    with connect(home) as connection:
        console.print(Text("\nWhat a task costs (USD)", style="bold"))
        print_table(
            console,
            ("task type", ">tasks", ">cost", ">per task", ">per successful task"),
            [
                (task_type, f"{tasks:,}", dollars(cost), unit_cost(per_task), unit_cost(per_success))
                for task_type, tasks, cost, per_task, per_success in ask(connection, _TASKS)
            ],
        )
        for failed, total in ask(connection, _RETRIES):
            console.print(f"Failed attempts: {dollars(failed)} of {dollars(total)} USD of calls{share(failed, total)}")
        for idle, unknown, total in ask(connection, _IDLE):
            console.print(
                f"Idle GPUs: {dollars(idle)} of {dollars(total)} USD of GPU time{share(idle, total)}; "
                f"{dollars(unknown)} USD more have no samples and stay unknown"
            )
        covered = coverage_lines(connection)
        if covered:
            console.print(Text("\nHow much of the calls is covered", style="bold"))
            print_table(console, ("", ">share", ">calls"), covered)
    console.print(Text("\nLook around", style="bold"))
    for line in (
        f"export PERTASK_HOME={home.root}",
        "pertask status",
        'pertask query "from unit_economics.cost_per_task_daily limit 10"',
        'pertask query "select cause, sum(failed_cost_usd) from unit_economics.retry_causes_daily group by cause"',
        "pertask dev",
    ):
        console.print(Text(f"  {line}"))
    console.print(Text(f"The month on a page, in a browser: {home.published / 'report' / 'index.html'}"))


def dollars(value: Any) -> str:
    """A total, to the cent; a dash where there is none."""
    return "-" if value is None else f"{value:,.2f}"


def unit_cost(value: Any) -> str:
    """The cost of one thing, to four significant figures; a dash where there is none."""
    if value is None:
        return "-"
    return f"{Decimal(f'{float(value):.3e}'):,f}"


def share(part: Any, whole: Any) -> str:
    """A share to append to two amounts; nothing where it is not defined."""
    return "" if part is None or not whole else f" ({part / whole:.1%})"
