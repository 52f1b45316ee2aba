"""The marts on a standalone Spark cluster beside DuckDB's: ``python bench/spark_cluster.py``.

Starts a master and two workers, each a process of its own from the pyspark package and each with one core, makes the
sample company in the state after a morning on which much came late (tests/python/two_engines.py), builds it whole by
DuckDB and by the cluster, and prints the comparison, mart by mart, and how many tasks each worker's executors ran. Ends
with 1 where anything differs, or where a worker ran nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# The packages must be found wherever this is started from.
sys.path[0] = str(Path(__file__).resolve().parents[1])

WORKERS = 2
HOST = "127.0.0.1"
START_SECONDS = 60
SETTINGS = """\
spark.driver.memory                                     3g
spark.executor.memory                                   2g
spark.executor.cores                                    1
spark.sql.shuffle.partitions                            4
spark.sql.sources.parallelPartitionDiscovery.threshold  100000
spark.driver.host                                       {host}
spark.eventLog.enabled                                  true
spark.eventLog.compress                                 false
spark.eventLog.rolling.enabled                          false
spark.eventLog.dir                                      file://{events}
spark.ui.enabled                                        false
spark.ui.showConsoleProgress                            false
"""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A master and its workers on this machine; gives the master's address and ends them all."""
    import pyspark

    spark_class = Path(pyspark.__file__).with_name("bin") / "spark-class"
    environment = {**os.environ, "SPARK_LOCAL_IP": HOST, "SPARK_HOME": str(spark_class.parents[1])}
    port = _free_port()
    address = f"spark://{HOST}:{port}"
    started: list[subprocess.Popen] = []

    def start(name: str, *arguments: str) -> None:
        with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
            started.append(
                subprocess.Popen([str(spark_class), *arguments], env=environment, stdout=log, stderr=subprocess.STDOUT)
            )

    try:
        master = ("--host", HOST, "--port", str(port), "--webui-port", str(_free_port()))
        start("master", "org.apache.spark.deploy.master.Master", *master)
        _wait_for(folder / "master.log", "Starting Spark master at", 1)
        for number in range(1, WORKERS + 1):
            work = folder / f"worker-{number}"
            shape = ("--cores", "1", "--memory", "2g", "--host", HOST, "--work-dir", str(work))
            ports = ("--webui-port", str(_free_port()))
            start(f"worker-{number}", "org.apache.spark.deploy.worker.Worker", *shape, *ports, address)
        _wait_for(folder / "master.log", "Registering worker", WORKERS)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=START_SECONDS)


def tasks_by_executor(events: Path) -> Counter[str]:
    """How many tasks each executor finished, from Spark's event logs."""
    tasks: Counter[str] = Counter()
    for path in events.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith('{"Event":"SparkListenerTaskEnd"'):
                tasks[json.loads(line)["Task Info"]["Executor ID"]] += 1
    return tasks


def _wait_for(log: Path, text: str, times: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if len(re.findall(text, log.read_text(encoding="utf-8"))) >= times:
            return
        time.sleep(0.2)
    raise SystemExit(f"{log}: {text!r} did not come {times} times in {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def main() -> None:
    """Build on both, print the comparison."""
    from bench import parity
    from orchestration.lib import spark
    from tests.python import two_engines
    from tests.python.building import build

    with tempfile.TemporaryDirectory(prefix="pertask-cluster-") as scratch:
        folder = Path(scratch)
        print("the sample company, built by DuckDB before and after the morning, and whole ...", flush=True)
        home = two_engines.before(folder / "home")
        two_engines.after(home)
        build(home, full_refresh=True, is_tested=False)
        events, settings = folder / "events", folder / "conf"
        events.mkdir()
        settings.mkdir()
        (settings / "spark-defaults.conf").write_text(SETTINGS.format(host=HOST, events=events), encoding="utf-8")
        with cluster(folder) as address:
            print(f"a master and {WORKERS} workers at {address}; building ...", flush=True)
            os.environ |= {"PERTASK_SPARK_MASTER": address, "SPARK_CONF_DIR": str(settings), "SPARK_LOCAL_IP": HOST}
            start = time.monotonic()
            outcome = spark.build(home, say=print)
            print(f"built and tested in {time.monotonic() - start:.0f} s")
        if not outcome.succeeded:
            raise SystemExit(f"{outcome.message}\n{outcome.failed_checks}")
        compared = parity.compare(home)
        print(parity.table(compared))
        tasks = tasks_by_executor(events)
        print("tasks by executor: " + ", ".join(f"{name}: {count:,}" for name, count in sorted(tasks.items())))
    is_same = all(mart.duckdb_rows and not mart.differences for mart in compared)
    sys.exit(0 if is_same and len(tasks) >= WORKERS else 1)


if __name__ == "__main__":
    main()
