"""What the benchmark measures in a process of its own and is no command of pertask: ``python bench/step.py STEP ...``.

- ``generate HOME CALLS DAYS FIRST``: a company's home; ``add-day HOME CALLS DAYS FIRST DAY``: one more day of it;
- ``copy LANDING OUT``: the bare DuckDB copy of the gateway's log to Parquet;
- ``whole-path NAME HOME OUT``, ``from-lake NAME HOME OUT``: a baseline's way to the four marts;
- ``queries FILE RESULT``: the time that each query takes on a publication, as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from datetime import date
from pathlib import Path
from types import ModuleType

import company

BASELINES = Path(__file__).parent / "baselines"
WARM_ROUNDS = 5

QUERIES = {
    "cost per task by day": "select started_date, sum(tasks), sum(cost_usd) / sum(tasks) "
    "from unit_economics.cost_per_task_daily group by started_date order by started_date",
    "cost per task by team and type": "select team, task_type, sum(tasks), sum(cost_usd), sum(headline_cost_usd) "
    "from unit_economics.cost_per_task_daily group by team, task_type order by sum(cost_usd) desc",
    "tail of a team": "select started_date, task_type, p50_task_cost_usd, p99_task_cost_usd "
    "from unit_economics.cost_per_task_daily where team = 'fraud' order by started_date, task_type",
    "cost per successful task": "select task_type, sum(cost_usd), sum(successful_tasks), sum(failed_tasks) "
    "from unit_economics.cost_per_task_daily group by task_type",
    "retries by day": "select usage_date, sum(failed_cost_usd), sum(superseded_cost_usd), sum(total_cost_usd) "
    "from unit_economics.retry_overhead_daily group by usage_date order by usage_date",
    "retries by model": "select model, sum(failed_attempts), sum(attempts), sum(failed_cost_usd) / sum(total_cost_usd) "
    "from unit_economics.retry_overhead_daily group by model order by model",
    "causes of retries": "select cause, sum(failed_attempts), sum(failed_cost_usd) "
    "from unit_economics.retry_causes_daily group by cause order by 3 desc",
    "utilisation by hour of day": "select extract(hour from hour_at) as hour, avg(utilisation_ratio) "
    "from capacity.gpu_utilisation_hourly group by hour order by hour",
    "utilisation of a machine": "select hour_at, utilisation_ratio from capacity.gpu_utilisation_hourly "
    "where resource_id = (select min(resource_id) from capacity.gpu_utilisation_hourly) order by hour_at",
    "idle dollars by day": "select usage_date, sum(idle_usd), sum(effective_cost_usd) "
    "from capacity.idle_dollars_daily group by usage_date order by usage_date",
    "idle dollars by team": "select team, purchase_mode, sum(idle_usd), sum(unknown_usd) "
    "from capacity.idle_dollars_daily group by team, purchase_mode",
    "attempts by day": "select usage_date, count(*), sum(cost_usd) from core.fct_call_attempts "
    "group by usage_date order by usage_date",
    "attempts by model": "select model, count(*), sum(input_tokens), sum(output_tokens), sum(cost_usd) "
    "from core.fct_call_attempts group by model order by sum(cost_usd) desc",
    "one day by hour and team": "select date_trunc('hour', started_at) as hour, team, count(*), sum(cost_usd) "
    "from core.fct_call_attempts where usage_date = (select max(usage_date) from core.fct_call_attempts) "
    "group by hour, team order by hour, team",
    "share of cached input": "select usage_date, team, sum(cache_read_tokens) / sum(input_tokens) "
    "from core.fct_call_attempts group by usage_date, team order by usage_date, team",
    "latency of models": "select model, quantile_cont(epoch(ended_at) - epoch(started_at), [0.5, 0.95]) "
    "from core.fct_call_attempts where usage_date = (select max(usage_date) from core.fct_call_attempts) "
    "group by model",
    "own GPUs by day": "select usage_date, sum(cost_usd), sum(fully_loaded_cost_usd) from core.fct_call_attempts "
    "where cost_basis = 'allocated' group by usage_date order by usage_date",
    "calls of a task": "select step_name, attempt_number, model, status, cost_usd from core.fct_call_attempts "
    "where task_id = (select max(task_id) from core.fct_tasks) order by started_at",
    "dearest tasks": "select task_id, team, task_type, call_count, cost_usd from core.fct_tasks "
    "order by cost_usd desc limit 20",
    "tasks by day and outcome": "select started_date, outcome, count(*), sum(cost_usd), sum(failed_attempt_cost_usd) "
    "from core.fct_tasks group by started_date, outcome order by started_date, outcome",
    "loops of tasks": "select task_type, max(loop_iterations), avg(call_count), avg(duration_seconds) "
    "from core.fct_tasks group by task_type",
    "cost by GPU and day": "select usage_date, gpu_key, sum(effective_cost_usd), sum(active_usd) "
    "from core.fct_gpu_hours group by usage_date, gpu_key order by usage_date, gpu_key",
}
"""What analysts ask: the four marts, and breakdowns of the facts by day."""


def copy(landing: Path, out: Path) -> None:
    """The gateway's log to Parquet, as DuckDB reads it."""
    import duckdb

    duckdb.execute("set enable_progress_bar = false")
    duckdb.execute(f"copy (select * from read_json('{landing}/gateway/*.jsonl')) to '{out}' (format parquet)")


def baseline(name: str) -> ModuleType:
    """A module of ``bench/baselines/``."""
    specification = importlib.util.spec_from_file_location(name, BASELINES / f"{name}.py")
    if specification is None or specification.loader is None:
        raise SystemExit(f"{BASELINES / name}.py: there is no such baseline")
    module = importlib.util.module_from_spec(specification)
    # before it runs: its dataclasses look their module up
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def queries(publication: Path) -> dict[str, dict[str, float | list[float]]]:
    """Seconds of each query: once with nothing of the file in memory, then again in the same connection."""
    import duckdb

    duckdb.execute("select 1")
    seconds = {}
    for name, query in QUERIES.items():
        _forget(publication)
        times = []
        start = time.perf_counter()
        with duckdb.connect(str(publication), read_only=True) as connection:
            for _ in range(1 + WARM_ROUNDS):
                connection.execute(query).fetchall()
                times.append(time.perf_counter() - start)
                start = time.perf_counter()
        seconds[name] = {"cold": times[0], "warm": times[1:]}
    return seconds


def _forget(path: Path) -> None:
    """Let the operating system drop what it holds of a file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Do the step that the arguments name."""
    match sys.argv[1:]:
        case ["generate", home, calls, days, first]:
            company.generate(Path(home), calls=int(calls), days=int(days), first=date.fromisoformat(first))
        case ["add-day", home, calls, days, first, day]:
            size = company.Company.of(int(calls), int(days))
            company.add_day(Path(home), size, date.fromisoformat(day), first=date.fromisoformat(first))
        case ["copy", landing, out]:
            copy(Path(landing), Path(out))
        case ["whole-path", name, home, out]:
            baseline(name).whole_path(Path(home), Path(out))
        case ["from-lake", name, home, out]:
            baseline(name).from_lake(Path(home), Path(out))
        case ["queries", publication, result]:
            Path(result).write_text(json.dumps(queries(Path(publication))), encoding="utf-8")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
