"""Readers while publications come: two ask in a loop, and neither meets an error or half of a publication."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.snapshot import META
from pertask.home import Home
from publish.publication import publish
from tests.python.publish.warehouses import make_warehouse

PUBLICATIONS = 20

READER = """
import json, os, sys
import duckdb

path, end = sys.argv[1], sys.argv[2]
seen, torn, count = [], [], 0
while not os.path.exists(end):
    with duckdb.connect(path, read_only=True) as connection:
        # two statements and three tables: they must be of one publication
        calls = connection.execute("select distinct cost_basis from core.fct_call_attempts").fetchall()
        others = connection.execute(
            "select distinct task_type, build_id from unit_economics.cost_per_task_daily, publication"
        ).fetchall()
    found = {value for row in calls + others for value in row}
    if len(found) != 1:
        torn.append(sorted(found))
    elif not seen or seen[-1] not in found:
        seen.extend(found)
    count += 1
print(json.dumps({"seen": seen, "torn": torn, "count": count}))
"""


def test_two_readers_in_a_loop_see_whole_publications_and_no_error(tmp_path: Path) -> None:
    home = make_warehouse(tmp_path / "home")
    end = tmp_path / "end"
    rebuild(home, "build-00")
    publish(home, keep=3)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(home.published_file), str(end)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    time.sleep(1)
    for number in range(1, PUBLICATIONS + 1):
        rebuild(home, f"build-{number:02}")
        publish(home, keep=3)
        time.sleep(0.1)
    end.touch()
    for reader in readers:
        out, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
        said = json.loads(out)
        assert said["torn"] == []
        assert said["seen"] == sorted(said["seen"]), "a reader went back to an older publication"
        assert len(said["seen"]) > PUBLICATIONS / 2, said
        assert said["count"] > PUBLICATIONS


def rebuild(home: Home, build_id: str) -> None:
    """Leave the warehouse as another build would, its name in every mart."""
    with duckdb.connect(str(home.warehouse_file)) as connection:
        connection.execute("update core.fct_call_attempts set cost_basis = ?", [build_id])
        connection.execute("update unit_economics.cost_per_task_daily set task_type = ?", [build_id])
    meta = home.last_snapshot / "meta.parquet"
    [row] = pq.read_table(meta).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**row, "build_id": build_id}], schema=META), meta)
