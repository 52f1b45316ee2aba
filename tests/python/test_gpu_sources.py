"""GPUs watched in three ways and billed in two, from the vendors' files to the marts: all of one hour.

Four machines with one GPU each, all billed for 09:00 to 10:00:

- ``node-g``, Google Cloud's detailed export, seen by dcgm-exporter's text, linked by ``kubectl get nodes``.
- ``node-f``, a FOCUS bill, seen by nvidia-smi's log, linked by a CSV file; calls name the replica on it.
- ``node-p``, the same bill, seen by Prometheus, linked by ``kubectl get nodes``.
- ``i-dark``, the same bill, which nothing links to ``node-s``, a host that Prometheus sees, until a link comes late.
"""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from pertask.home import Home
from tests.python.building import build, ingest_sources
from tests.python.conftest import spend_log_row, write_json_lines
from tests.python.ingest.formats.test_gcp_billing import credit, record
from tests.python.ingest.formats.test_kubernetes_nodes import node, write_nodes
from tests.python.ingest.helpers import bill_line, gpu_series, write_answer, write_csv, write_lines

SOURCES = """\
sources:
  google: {path: landing/google, format: gcp_billing}
  bill: {path: landing/bill, format: focus}
  exporter: {path: landing/exporter, format: openmetrics}
  smi: {path: landing/smi, format: nvidia_smi, time_zone: Asia/Kolkata}
  prometheus: {path: landing/prometheus, format: prometheus}
  nodes: {path: landing/nodes, format: kubernetes_nodes}
  links: {path: landing/links, format: resource_links}
  windows: {path: landing/windows, format: mapping, mapping: windows.yml}
  gateway: {path: landing/gateway, format: litellm_spend_logs}
"""
WINDOWS = """\
contract: replica_windows
format: csv
columns: {replica_id: replica, resource_id: instance, loaded_at: loaded, unloaded_at: unloaded}
"""
DAY, NINE = date(2026, 8, 5), datetime(2026, 8, 5, 9, tzinfo=UTC)
GOOGLE = "//compute.googleapis.com/zones/us-central1-a/instances/573"
MINUTE = 60
CARD = {"UUID": "GPU-p", "Hostname": "node-p", "pod": "dcgm-exporter-x", "namespace": "monitoring"}
"""How Prometheus labels the GPU of ``node-p``: the pod and the namespace are the exporter's."""
STATES = ("active", "loaded_idle", "unallocated", "unknown")
FINDINGS = """
    select subject, amount_usd, affected_seconds from quality.findings where kind = '{kind}' order by subject
"""


def at(second: int) -> datetime:
    return NINE + timedelta(seconds=second)


def google_bill(landing: Path) -> None:
    """An hour of a g2-standard-4: 3.20 USD of its GPU, and cores for 0.60 less 0.20 for committed use."""
    machine = {"system_labels": [{"key": "compute.googleapis.com/machine_spec", "value": "g2-standard-4"}]}
    hour = {"amount": "3600", "unit": "seconds", "amount_in_pricing_units": "1", "pricing_unit": "hour"}
    cores = {"amount": "14400", "unit": "seconds", "amount_in_pricing_units": "4", "pricing_unit": "hour"}
    committed = [credit("COMMITTED_USAGE_DISCOUNT", "-0.20")]
    records = [
        record("Nvidia L4 GPU running in Americas", cost="3.20", usage=hour, **machine),
        record("G2 Instance Core running in Americas", cost="0.60", usage=cores, credits=committed, **machine),
    ]
    write_json_lines(landing / "google" / "part.jsonl", records)


def focus_bill(landing: Path) -> None:
    """An hour of three machines with one L40S each."""
    costs = {"i-f": "7.20", "i-p": "3.60", "i-dark": "5.40"}
    lines = [bill_line(ResourceId=name, EffectiveCost=cost, BilledCost=cost) for name, cost in costs.items()]
    write_csv(landing / "bill" / "part.csv", lines)


def exporter_text(landing: Path) -> None:
    """A sample each 30 seconds: a pod at 50 percent for half an hour, nobody for 20 minutes, a pod at 100 percent.

    GPU_UTIL says 100 all along: a kernel was there. Minute 5 is not there.
    """
    workload = ',pod="llama-0",namespace="assist"'
    labels = 'gpu="0",UUID="GPU-g",modelName="NVIDIA L4",Hostname="node-g"'
    lines = ["# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge", "# TYPE DCGM_FI_DEV_GPU_UTIL gauge"]
    for second in range(0, 3600, 30):
        if second // MINUTE != 5:
            engine = 0.5 if second < 1800 else 0 if second < 3000 else 1
            told = labels if 1800 <= second < 3000 else labels + workload
            for metric, value in (("DCGM_FI_PROF_GR_ENGINE_ACTIVE", engine), ("DCGM_FI_DEV_GPU_UTIL", 100)):
                lines.append(f"{metric}{{{told}}} {value} {at(second).timestamp():.3f}")
    write_lines(landing / "exporter" / "node-g.om", [*lines, "# EOF"])


def smi_log(landing: Path) -> None:
    """A row a minute, on a clock of Kolkata: 50 percent for 40 minutes, then 0; no row of minute 10, no data in 20."""
    lines = ["timestamp, index, uuid, name, utilization.gpu [%], memory.used [MiB]"]
    for minute in range(60):
        if minute != 10:
            clock = at(minute * MINUTE) + timedelta(hours=5, minutes=30)
            util = "[N/A]" if minute == 20 else "50 %" if minute < 40 else "0 %"
            lines.append(f"{clock:%Y/%m/%d %H:%M:%S}.000, 0, GPU-f, NVIDIA L40S, {util}, 22535 MiB")
    write_lines(landing / "smi" / "host=node-f" / "smi.csv", lines)


def prometheus_answer(landing: Path) -> None:
    """A point a minute: a pod at 80 percent for 30 minutes, nobody for 20, a pod at 0; no point of minute 45.

    The scrape kept its own labels. The unlinked host has ten minutes of nothing.
    """

    def points(minutes: range, value: str) -> list[list]:
        return [[at(minute * MINUTE).timestamp(), value] for minute in minutes if minute != 45]

    workload = {"exported_pod": "qwen-0", "exported_namespace": "search"}
    write_answer(
        landing / "prometheus" / "gpus.json",
        gpu_series(points(range(30), "80"), **CARD, **workload),
        gpu_series(points(range(30, 50), "0"), **CARD),
        gpu_series(points(range(50, 60), "0"), **CARD, **workload),
        gpu_series(
            points(range(10), "0"), UUID="GPU-s", Hostname="node-s", pod="dcgm-exporter-y", namespace="monitoring"
        ),
    )


def names(landing: Path) -> None:
    """Who is who: two nodes of Kubernetes, one machine in a list, and the replica that one holds until 09:40."""
    of_google = node("node-g", "gce://chat-prod/us-central1-a/gke-g2-0")
    of_google["metadata"]["annotations"]["container.googleapis.com/instance_id"] = "573"
    write_nodes(landing / "nodes" / "nodes.json", of_google, node("node-p", "aws:///us-east-1a/i-p"))
    write_lines(landing / "links" / "links.csv", ["hostname,resource_id", "node-f,i-f"])
    window = "r-f,i-f,2026-08-05T08:00:00Z,2026-08-05T09:40:00Z"
    write_lines(landing / "windows" / "windows.csv", ["replica,instance,loaded,unloaded", window])


def calls(landing: Path) -> None:
    """Two calls on the replica, one after the other: 5 and 15 minutes."""
    told = {"custom_llm_provider": "hosted_vllm", "model": "qwen", "labels": {"replica_id": "r-f", "task_id": "t"}}
    rows = [
        spend_log_row(name, f"2026-08-05T09:{start:02}:00", endTime=f"2026-08-05T09:{end:02}:00", **told)
        for name, start, end in (("short", 0, 5), ("long", 5, 20))
    ]
    write_json_lines(landing / "gateway" / "calls.jsonl", rows)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("gpu_sources")
    (folder / "pertask.yml").write_text(SOURCES, encoding="utf-8")
    (folder / "windows.yml").write_text(WINDOWS, encoding="utf-8")
    for deliver in (google_bill, focus_bill, exporter_text, smi_log, prometheus_answer, names, calls):
        deliver(folder / "landing")
    home = Home(folder)
    ingest_sources(home)
    build(home)
    return home


def rows(home: Home, sql: str) -> list[tuple]:
    with duckdb.connect(str(home.warehouse_file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def of_states(unit: str) -> str:
    return ", ".join(f"{state}_{unit}" for state in STATES)


def dollars(*amounts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(amount) for amount in amounts)


HOURS = "select gpu_key, {columns} from core.fct_gpu_hours where hour_at = '2026-08-05 09:00' order by gpu_key"


def test_each_gpu_hour_is_the_machine_of_its_bill(home: Home) -> None:
    columns = "resource_id, gpu_model, namespace, utilisation_method"
    assert rows(home, HOURS.format(columns=columns)) == [
        ("GPU-f", "i-f", "L40S-48GB", None, "request_intervals"),
        ("GPU-g", GOOGLE, "L4-24GB", "assist", "gr_engine_active"),
        ("GPU-p", "i-p", "L40S-48GB", "search", "gpu_util"),
        ("i-dark#1", "i-dark", "L40S-48GB", None, "none"),
    ]


def test_each_gpu_hour_by_the_second(home: Home) -> None:
    assert rows(home, HOURS.format(columns=f"billed_seconds, {of_states('seconds')}")) == [
        # active in the calls' 20 minutes, longer than 38 minutes at a half; loaded for 38, free from 09:40
        ("GPU-f", 3600, 1200, 1080, 1200, 120),
        # active 29 minutes at a half and 10 at full; loaded and idle in the other half of the 29
        ("GPU-g", 3600, 1470, 870, 1200, 60),
        # active 30 minutes at 80 percent; 6 of these and 10 more idle; 19 free
        ("GPU-p", 3600, 1440, 960, 1140, 60),
        ("i-dark#1", 3600, 0, 0, 0, 3600),
    ]


def test_each_gpu_hour_by_the_dollar(home: Home) -> None:
    # 0.002, 0.001, 0.001 and 0.0015 a second
    assert rows(home, HOURS.format(columns=f"effective_cost_usd, {of_states('usd')}")) == [
        ("GPU-f", *dollars("7.2", "2.4", "2.16", "2.4", "0.24")),
        ("GPU-g", *dollars("3.6", "1.47", "0.87", "1.2", "0.06")),
        ("GPU-p", *dollars("3.6", "1.44", "0.96", "1.14", "0.06")),
        ("i-dark#1", *dollars("5.4", "0", "0", "0", "5.4")),
    ]


def test_the_same_by_machine(home: Home) -> None:
    found = rows(
        home,
        f"""
        select resource_id, gpu_count, {of_states("seconds")}, active_usd, idle_usd
        from capacity.gpu_utilisation_hourly order by resource_id
        """,
    )
    assert found == [
        (GOOGLE, 1, 1470, 870, 1200, 60, *dollars("1.47", "2.07")),
        ("i-dark", 1, 0, 0, 0, 3600, *dollars("0", "0")),
        ("i-f", 1, 1200, 1080, 1200, 120, *dollars("2.4", "4.56")),
        ("i-p", 1, 1440, 960, 1140, 60, *dollars("1.44", "2.1")),
    ]


def test_the_same_by_day(home: Home) -> None:
    found = rows(
        home,
        f"""
        select usage_date, gpu_model, effective_cost_usd, {of_states("usd")}, idle_usd
        from capacity.idle_dollars_daily order by gpu_model
        """,
    )
    assert found == [
        (DAY, "L4-24GB", *dollars("3.6", "1.47", "0.87", "1.2", "0.06", "2.07")),
        (DAY, "L40S-48GB", *dollars("16.2", "3.84", "3.12", "3.54", "5.7", "6.66")),
    ]


def test_the_calls_carry_what_was_active_on_their_replica(home: Home) -> None:
    found = rows(home, "select call_id, cost_basis, cost_usd from core.fct_call_attempts order by call_id")
    # 2.40 by 15 and 5 minutes
    assert found == [("long", "allocated", Decimal("1.8")), ("short", "allocated", Decimal("0.6"))]


def test_what_no_link_names_is_found_with_its_dollars(home: Home) -> None:
    # ten minutes at the mean price of an L40S, 16.20 for three hours; the machine that nothing watches
    assert rows(home, FINDINGS.format(kind="unlinked_host")) == [("node-s", Decimal("0.9"), 600)]
    assert rows(home, FINDINGS.format(kind="billed_without_samples")) == [("i-dark", Decimal("5.4"), 3600)]


def test_a_link_and_a_minute_that_come_late(home: Home, tmp_path: Path) -> None:
    later = Home(shutil.copytree(home.root, tmp_path / "later"))
    write_lines(later.landing / "links" / "more.csv", ["hostname,resource_id", "node-s,i-dark"])
    points = [[at(minute * MINUTE).timestamp(), "0"] for minute in (45, 46)]
    write_answer(later.landing / "prometheus" / "late.json", gpu_series(points, **CARD))
    ingest_sources(later)
    assert not build(later).full_refresh

    assert rows(later, FINDINGS.format(kind="unlinked_host")) == []
    assert rows(later, FINDINGS.format(kind="billed_without_samples")) == []
    # 50 of its 60 minutes stay unknown
    assert rows(later, FINDINGS.format(kind="low_sample_coverage")) == [("i-dark", Decimal("4.5"), 3000)]
    found = rows(
        later,
        f"""
        select gpu_key, {of_states("seconds")}, {of_states("usd")}
        from core.fct_gpu_hours where gpu_key in ('GPU-p', 'GPU-s') order by gpu_key
        """,
    )
    assert found == [
        ("GPU-p", 1440, 960, 1200, 0, *dollars("1.44", "0.96", "1.2", "0")),
        ("GPU-s", 0, 0, 600, 3000, *dollars("0", "0", "0.9", "4.5")),
    ]
