"""Small vendor files of every format, and bringing them into a test's lake."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq

from ingest.runner import BatchResult, IngestRequest, ingest

MARKER = "MARKER-7f3a"
"""What a record's secret text holds in the tests of privacy."""


def bring(tmp_path: Path, path: Path, format_name: str = "auto", **changes: object) -> BatchResult:
    """Ingest one delivery into the test's lake and check that each of its rows is accounted for."""
    [result] = ingest(tmp_path / "lake", [IngestRequest("gateway", path, format_name, **changes)])
    assert result.rows_read == result.rows_loaded + result.rows_quarantined + result.rows_skipped
    assert MARKER not in result.message
    return result


def write_lines(path: Path, lines: list[str], end: str = "\n") -> Path:
    """Write text lines, making the folder; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    return path


def write_csv(path: Path, rows: list[dict]) -> Path:
    """Write rows as CSV, JSON text for what is nested; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        for row in rows:
            writer.writerow({name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in row.items()})
    return path


def bill_line(**changes: object) -> dict[str, object]:
    """A FOCUS 1.2 line: an hour of a GPU machine."""
    return {
        "BilledCost": "2.10",
        "EffectiveCost": "1.95",
        "ListCost": "2.40",
        "ContractedCost": "2.10",
        "BillingCurrency": "USD",
        "BillingAccountId": "001234567890",
        "BillingPeriodStart": "2026-08-01T00:00:00Z",
        "BillingPeriodEnd": "2026-09-01T00:00:00Z",
        "ChargePeriodStart": "2026-08-05T09:00:00Z",
        "ChargePeriodEnd": "2026-08-05T10:00:00Z",
        "ChargeCategory": "Usage",
        "ConsumedQuantity": "1",
        "ConsumedUnit": "Hours",
        "ResourceId": "i-0abc",
        "ProviderName": "AWS",
        "ServiceCategory": "Compute",
        "SkuPriceDetails": '{"InstanceType": "g6e.xlarge", "GpuCount": 1}',
        **changes,
    }


def gpu_series(values: list[list], metric: str = "DCGM_FI_DEV_GPU_UTIL", **labels: str | None) -> dict:
    """One series as dcgm-exporter labels it; a label of None is left out."""
    metric_labels = {
        "__name__": metric,
        "UUID": "GPU-1",
        "Hostname": "node-1",
        "modelName": "NVIDIA L40S",
        "gpu": "0",
        **labels,
    }
    return {"metric": {name: value for name, value in metric_labels.items() if value is not None}, "values": values}


def gpu_answer(*series: dict, **changes: object) -> dict:
    """An answer of ``/api/v1/query_range``."""
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}, **changes}


def write_answer(path: Path, *series: dict, **changes: object) -> Path:
    """Write an answer of Prometheus as one JSON document; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(gpu_answer(*series, **changes)), encoding="utf-8")
    return path


def assert_nowhere(folder: Path, marker: str = MARKER) -> None:
    """Check that a text stands in no file below a folder, decoded values of Parquet files included."""
    for path in sorted(folder.rglob("*")):
        assert marker not in str(path)
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += repr(pq.read_table(path).to_pylist()).encode()
            assert marker.encode() not in content, path
