"""A small company for the tests that run the whole graph: a few calls, tasks, bills and GPU samples of four days."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from tests.python.conftest import spend_log_row

DAY_ONE = datetime(2026, 8, 19, tzinfo=UTC)
SOURCES = """\
sources:
  gateway: {path: landing/gateway, format: litellm_spend_logs}
  outcomes: {path: landing/outcomes, format: tasks}
  bill: {path: landing/bill, format: focus}
  telemetry: {path: landing/telemetry, format: prometheus}
  links: {path: landing/links, format: resource_links}
  windows: {path: landing/windows, format: mapping, mapping: mappings/windows.yml}
  tracer: {path: landing/tracer, format: mapping, mapping: mappings/tracer.yml}
  prices: {path: landing/prices, format: litellm_prices}
# each day's log holds a row with negative tokens
limits: {quarantined_ratio: 0.5}
"""
WINDOWS = """\
contract: replica_windows
format: csv
columns: {replica_id: replica, resource_id: instance, loaded_at: loaded, unloaded_at: unloaded}
"""
TRACER = """\
contract: llm_calls
format: csv
columns:
  call_id: id
  response_id: response
  trace_id: trace
  span_id: id
  task_id: task
  started_at: started
  provider: "'openai'"
  model: model
  input_tokens: read
  output_tokens: written
"""
# Told apart by the moment or the path of the run, not by what the data say.
RUN_COLUMNS = {"committed_at", "batch_id"}


class SmallHome:
    """A home whose deliveries can be made in any order; each is a function that writes into landing/ or company/.

    The deliveries hold on purpose: a task over midnight, a price cut between two days, a retry labelled on the next
    day, a late and a grown log file, outcomes that change, a restated bill with a day gone, a month-wide bill line,
    late GPU samples, calls to own servers that overlap, some over midnight, lists of links, windows and outcomes that
    come again as a whole, edited aliases, prices and discounts, observed prices, and a tracer that has seen some of the
    gateway's calls, one of them after midnight.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "company").mkdir(exist_ok=True)
        (folder / "pertask.yml").write_text(SOURCES, encoding="utf-8")
        (folder / "mappings").mkdir(exist_ok=True)
        (folder / "mappings" / "windows.yml").write_text(WINDOWS, encoding="utf-8")
        (folder / "mappings" / "tracer.yml").write_text(TRACER, encoding="utf-8")
        for name in ("gateway", "outcomes", "bill", "telemetry", "links", "windows", "tracer", "prices"):
            (folder / "landing" / name).mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str) -> str:
        """Run ``pertask`` in this home; fails when it does."""
        done = subprocess.run(
            [sys.executable, "-m", "pertask", *arguments],
            env={**os.environ, "PERTASK_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"pertask {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def deliver_all(self) -> None:
        """Make every delivery, in their natural order."""
        for deliver in self.deliveries():
            deliver()

    def deliveries(self) -> list[Callable[[], None]]:
        """Every delivery; company edits keep their order among themselves, the rest may come in any order."""
        return [
            self.calls_of_day(0),
            self.calls_of_day(1),
            self.calls_of_day(2, rows=2),
            self.calls_of_day(2),
            self.calls_of_day(3),
            self.outcomes("first", 1, {"t0": "unknown", "t1": "success", "midnight": "failure"}),
            self.outcomes("second", 2, {"t0": "success", "midnight": "success", "t9": "escalated"}),
            self.bill("first", 1, days=(0, 1, 2, 3), rate="2.00"),
            self.bill("restated", 2, days=(0, 2, 3), rate="2.10"),
            self.samples(0),
            self.samples(2),
            self.outcomes("whole", 3, {"t0": "success", "t1": "success", "t3": "failure", "midnight": "success"}),
            self.links("first", 0, ended=False),
            self.links("whole", 2, ended=True),
            self.windows("first", 0, ended=False),
            self.windows("whole", 2, ended=True),
            self.spans(0),
            self.spans(1),
            self.spans(2),
            self.prices(0, 0.000003),
            self.prices(2, 0.000002),
            self.prices(3, 0.003),
        ]

    def company_edits(self) -> list[Callable[[], None]]:
        """Edits of the company's files, in their order."""
        return [
            self.aliases("support desk"),
            self.terms(
                "prices", "provider,model,component,usd_per_million,valid_from", "openai,gpt-5.6-sol,input,3,2026-08-20"
            ),
            self.aliases("customer care"),
            self.terms("discounts", "provider,discount_ratio,valid_from,valid_to", "openai,0.1,2026-08-19,2026-08-21"),
            self.terms(
                "prices", "provider,model,component,usd_per_million,valid_from", "openai,gpt-5.6-sol,input,3,2026-08-21"
            ),
        ]

    def _write(self, path: str, text: str, delivered: int) -> None:
        target = self.folder / "landing" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        moment = (DAY_ONE + timedelta(days=10, hours=delivered)).timestamp()
        os.utime(target, (moment, moment))

    def calls_of_day(self, day: int, rows: int | None = None) -> Callable[[], None]:
        """A day's gateway log; ``rows`` cuts it short, as a file that is delivered again when it has grown."""

        def deliver() -> None:
            start = DAY_ONE + timedelta(days=day)

            def row(name: str, hour: float, **changes: object) -> dict:
                moment = start + timedelta(hours=hour)
                changes.setdefault("endTime", (moment + timedelta(seconds=3)).strftime("%Y-%m-%dT%H:%M:%S"))
                changes.setdefault("model", "gpt-5.6-sol")
                return spend_log_row(f"d{day}-{name}", moment.strftime("%Y-%m-%dT%H:%M:%S"), **changes)

            def own(name: str, hour: float, replica: str, minutes: int) -> dict:
                end = (start + timedelta(hours=hour, minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S")
                told = labels(f"t{day}", replica_id=replica)
                return row(name, hour, custom_llm_provider="hosted_vllm", model="qwen", labels=told, endTime=end)

            def labels(task: str, **more: object) -> dict:
                return {"task_id": task, "task_type": "ticket", **more}

            calls = [
                row("a", 9, labels=labels(f"t{day}", step_name="answer", step_index=1)),
                row("b", 10, labels=labels(f"t{day}", step_name="answer", step_index=1, retry_reason="schema_invalid")),
                row("c", 11, model="no-such-model", labels=labels("t9")),
                row("d", 12, metadata={}, team_id=""),
                row("e", 13, status="failure", prompt_tokens=0, completion_tokens=0, labels=labels("t9")),
                row("f", 14, custom_llm_provider="hosted_vllm", model="qwen", labels=labels("t1", replica_id="r1")),
                row("g", 15, usage={"prompt_tokens_details": {"cached_tokens": 400}}, labels=labels("t1")),
                row("h", 16, prompt_tokens=-1),
                own("s", 9.2, "r1", minutes=20),
                own("u", 9.4, "r1", minutes=50),
                own("v", 23.9, "w1", minutes=15),
                own("w", 23.95, "w1", minutes=80),
            ]
            late = {"call_id": "over-midnight", "step_name": "review", "step_index": 1}
            if day == 1:
                calls.append(row("n1", 23.9, labels=labels("midnight", attempt_number=1, **late)))
            if day == 2:
                again = labels("midnight", attempt_number=2, retry_reason="schema_invalid", **late)
                calls.append(row("n2", 0.1, labels=again))
            name = f"day{day}.jsonl" if rows is None else f"day{day}-early.jsonl"
            text = "".join(json.dumps(call) + "\n" for call in calls[:rows])
            self._write(f"gateway/{name}", text, delivered=day if rows is None else day - 1)

        return deliver

    def outcomes(self, name: str, delivered: int, labels: dict[str, str]) -> Callable[[], None]:
        """A delivery of task outcomes."""

        def deliver() -> None:
            text = "".join(json.dumps({"task_id": task, "outcome": outcome}) + "\n" for task, outcome in labels.items())
            self._write(f"outcomes/{name}.jsonl", text, delivered)

        return deliver

    def bill(self, name: str, delivered: int, days: tuple[int, ...], rate: str) -> Callable[[], None]:
        """A bill of one GPU: a line an hour on the days, a month-wide line of another GPU, tax and a credit."""

        def deliver() -> None:
            path = self.folder / "landing" / "bill" / name / "part.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, _bill_line(DAY_ONE, DAY_ONE, "0"))
                writer.writeheader()
                for day in days:
                    for hour in range(8, 12):
                        start = DAY_ONE + timedelta(days=day, hours=hour)
                        writer.writerow(_bill_line(start, start + timedelta(hours=1), rate))
                month = {"ResourceId": "i-wide", "ConsumedQuantity": "720"}
                whole = DAY_ONE.replace(day=1), DAY_ONE.replace(month=9, day=1)
                writer.writerow({**_bill_line(*whole, "45.00"), **month})
                nothing = {"ResourceId": "", "ConsumedQuantity": "", "ConsumedUnit": "", "SkuPriceDetails": ""}
                writer.writerow({**_bill_line(*whole, "3.33"), **nothing, "ChargeCategory": "Tax"})
                writer.writerow({**_bill_line(*whole, "-1.11"), **nothing, "ChargeCategory": "Credit"})
            moment = (DAY_ONE + timedelta(days=10, hours=delivered)).timestamp()
            os.utime(path, (moment, moment))

        return deliver

    def samples(self, day: int) -> Callable[[], None]:
        """Two hours of GPU samples of a day, both GPUs, five minutes apart."""

        def deliver() -> None:
            start = (DAY_ONE + timedelta(days=day, hours=9)).timestamp()
            series = [
                {
                    "metric": {
                        "__name__": "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
                        "UUID": f"GPU-{host}",
                        "Hostname": host,
                        "modelName": "NVIDIA H100 80GB HBM3",
                        "pod": "server-0",
                        "namespace": "serving",
                    },
                    "values": [[start + 300 * step, str(round(0.01 * (step % 7), 2))] for step in range(24)],
                }
                for host in ("host-a", "host-wide")
            ]
            answer = {"status": "success", "data": {"resultType": "matrix", "result": series}}
            self._write(f"telemetry/day{day}.json", json.dumps(answer), delivered=day)

        return deliver

    def links(self, name: str, delivered: int, *, ended: bool) -> Callable[[], None]:
        """Which host is which billed resource; the later list tells that one machine left on the third day."""

        def deliver() -> None:
            end = (DAY_ONE + timedelta(days=2, hours=10)).isoformat() if ended else ""
            rows = f"host-a,GPU-host-a,i-a,2026-08-01T00:00:00Z,\nhost-wide,GPU-host-wide,i-wide,,{end}\n"
            self._write(f"links/{name}.csv", f"hostname,gpu_uuid,resource_id,valid_from,valid_to\n{rows}", delivered)

        return deliver

    def windows(self, name: str, delivered: int, *, ended: bool) -> Callable[[], None]:
        """When replicas were loaded; the later list tells the ends of two, and of another that came and went."""

        def deliver() -> None:
            first, later = (DAY_ONE + timedelta(hours=hours) for hours in (8, 58))
            last = DAY_ONE + timedelta(days=3, minutes=10)
            rows = [
                f"r1,i-a,{first.isoformat()},{later.isoformat() if ended else ''}",
                f"w1,i-wide,2026-08-01T00:00:00Z,{last.isoformat() if ended else ''}",
            ]
            if ended:
                rows.append(f"r2,i-a,{(later + timedelta(hours=3)).isoformat()},")
            self._write(f"windows/{name}.csv", "\n".join(["replica,instance,loaded,unloaded", *rows, ""]), delivered)

        return deliver

    def spans(self, day: int) -> Callable[[], None]:
        """A day's spans of a tracer.

        Calls that the gateway has too, one of them begun a little later and so on the next day; a task for a call that
        the gateway knows no task of; and a call that only the tracer has seen.
        """

        def deliver() -> None:
            start = DAY_ONE + timedelta(days=day)
            rows = [
                (f"d{day}-a", f"t{day}", 9, "gpt-5.6-sol"),
                (f"d{day}-d", "traced", 12, "gpt-5.6-sol"),
                (f"only-{day}", "traced", 13, "gpt-5.6-sol"),
            ]
            if day == 2:
                rows.append(("d1-n1", "midnight", 0.002, "gpt-5.6-sol"))
            lines = ["id,response,trace,task,started,model,read,written"] + [
                f"span-{name},{name},trace-{task},{task},{(start + timedelta(hours=hour)).isoformat()},{model},900,90"
                for name, task, hour, model in rows
            ]
            self._write(f"tracer/day{day}.csv", "\n".join([*lines, ""]), delivered=day)

        return deliver

    def prices(self, day: int, input_usd: float) -> Callable[[], None]:
        """LiteLLM's prices as seen on a day, of a model that the price book does not know."""

        def deliver() -> None:
            costs = {"input_cost_per_token": input_usd, "output_cost_per_token": 0.00001}
            entry = {"litellm_provider": "openai", "mode": "chat", **costs}
            path = self.folder / "landing" / "prices" / f"day{day}.json"
            path.write_text(json.dumps({"no-such-model": entry}), encoding="utf-8")
            moment = (DAY_ONE + timedelta(days=day, hours=6)).timestamp()
            os.utime(path, (moment, moment))

        return deliver

    def terms(self, file: str, header: str, row: str) -> Callable[[], None]:
        """An edit of one of the company's files on prices."""

        def deliver() -> None:
            (self.folder / "company" / f"{file}.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")

        return deliver

    def aliases(self, name: str) -> Callable[[], None]:
        """An edit of the company's name for a team."""

        def deliver() -> None:
            text = f"kind,alias,name,valid_from,valid_to\nteam,support,{name},2026-08-20,\n"
            (self.folder / "company" / "aliases.csv").write_text(text, encoding="utf-8")

        return deliver


def _bill_line(start: datetime, end: datetime, cost: str) -> dict[str, str]:
    return {
        **dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), cost),
        "BillingCurrency": "USD",
        "BillingAccountId": "0042",
        "BillingPeriodStart": "2026-08-01T00:00:00Z",
        "BillingPeriodEnd": "2026-09-01T00:00:00Z",
        "ChargePeriodStart": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ChargePeriodEnd": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ChargeCategory": "Usage",
        "ConsumedQuantity": "1",
        "ConsumedUnit": "Hours",
        "PricingCategory": "Standard",
        "ResourceId": "i-a",
        "RegionId": "ap-south-1",
        "ServiceCategory": "Compute",
        "ServiceName": "GPU cloud",
        "ProviderName": "AWS",
        "SkuPriceDetails": '{"GpuCount": 1, "InstanceType": "x1"}',
    }


def published_rows(home: Path) -> dict[str, list[tuple]]:
    """Every row of every published mart, sorted, without the columns that tell runs apart."""
    with duckdb.connect(str(home / "published" / "pertask.duckdb"), read_only=True) as connection:
        return mart_rows(connection)


def mart_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    """Every row of the public marts that a connection holds, by mart."""
    schemas = ("core", "unit_economics", "capacity", "quality")
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where schema_name in "
        f"({', '.join(repr(schema) for schema in schemas)}) order by all"
    ).fetchall()
    found = {}
    for schema, table in tables:
        columns = [
            name
            for (name,) in connection.execute(
                "select column_name from duckdb_columns() where schema_name = ? and table_name = ?", [schema, table]
            ).fetchall()
            if name not in RUN_COLUMNS
        ]
        picked = ", ".join(f'"{column}"' for column in columns)
        found[f"{schema}.{table}"] = connection.execute(
            f"select {picked} from {schema}.{table} order by all"
        ).fetchall()
    assert found, "no marts were published"
    return found
