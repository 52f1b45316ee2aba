"""Resource links: which names mean the same machine, and when."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, write_csv, write_lines

QUARANTINE = "file_name, line_number, column_name, reason"


def test_a_row_ties_names_together_for_a_span_of_time(tmp_path, lake_rows):
    lines = [
        "hostname,node_name,gpu_uuid,resource_id,deployment_id,api_base,valid_from,valid_to",
        "node-1,node-1.internal,,i-0abc,,,2026-08-01T00:00:00Z,2026-08-05 06:30:00",
        "node-1,,,i-0abc,llama,http://node-1:8000/v1,,",
        "node-2,,GPU-2,,,,2026-08-01,",
    ]
    result = bring(tmp_path, write_lines(tmp_path / "links.csv", lines))

    assert (result.format, result.rows_loaded) == ("resource_links", 3)
    assert lake_rows("resource_links", "hostname, gpu_uuid, resource_id, deployment_id, valid_from, valid_to") == [
        ("node-1", None, "i-0abc", "llama", None, None),
        ("node-1", None, "i-0abc", None, datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 8, 5, 6, 30, tzinfo=UTC)),
        ("node-2", "GPU-2", None, None, datetime(2026, 8, 1, tzinfo=UTC), None),
    ]


def test_the_delivery_is_open_where_a_row_is(tmp_path):
    lines = ["hostname,resource_id,valid_from,valid_to", "node-1,i-1,2026-08-01,2026-08-03", "node-2,i-2,2026-08-02,"]
    bring(tmp_path, write_lines(tmp_path / "links.csv", lines))

    (batch,) = Lake(tmp_path / "lake").batches().values()
    counts = batch.counts["resource_links"]
    assert (str(counts.min_date), counts.max_date) == ("2026-08-01", None)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("host,instance_id", "hostname, resource_id"),
        ("Host,Node", "hostname, node_name"),
        ("uuid,resource_id", "gpu_uuid, resource_id"),
        ("deployment_id,api_base", "deployment_id, api_base"),
    ],
)
def test_the_common_names_of_the_columns(tmp_path, lake_rows, header, columns):
    bring(tmp_path, write_lines(tmp_path / "links.csv", [header, " one , two "]))

    assert lake_rows("resource_links", columns) == [("one", "two")]


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("node-1,,2026-08-01,2026-08-02", None, "fewer than two names to link"),
        ("node-1, ,,", None, "fewer than two names to link"),
        ("node-1,i-1,1785578400,", "valid_from", "not a time"),
        ("node-1,i-1,2026-08-02,2026-08-01", "valid_to", "before valid_from"),
    ],
)
def test_a_wrong_row_costs_itself_only(tmp_path, lake_rows, row, column, reason):
    lines = ["hostname,resource_id,valid_from,valid_to", "node-0,i-0,,", row, "node-2,i-2,,"]
    result = bring(tmp_path, write_lines(tmp_path / "links.csv", lines))

    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [("links.csv", 3, column, reason)]


def test_json_lines_and_parquet_do_as_well(tmp_path, lake_rows):
    row = {"hostname": "node-1", "resource_id": "i-1", "valid_from": "2026-08-01T00:00:00Z"}
    bring(tmp_path, write_lines(tmp_path / "links.jsonl", [json.dumps(row)]))
    typed = {**row, "hostname": "node-2", "valid_from": datetime(2026, 8, 1, tzinfo=UTC)}
    pq.write_table(pa.Table.from_pylist([typed]), tmp_path / "links.parquet")
    bring(tmp_path, tmp_path / "links.parquet")

    moment = datetime(2026, 8, 1, tzinfo=UTC)
    assert lake_rows("resource_links", "hostname, valid_from") == [("node-1", moment), ("node-2", moment)]


@pytest.mark.parametrize("extra", ["replica_id", "sampled_at", "event", "BilledCost"])
def test_a_file_about_something_else_is_not_taken_for_links(tmp_path, extra):
    path = write_csv(tmp_path / "x.csv", [{"hostname": "node-1", "resource_id": "i-1", extra: "1"}])
    result = bring(tmp_path, path)

    assert result.state == "failed"
    assert "no known format" in result.message
