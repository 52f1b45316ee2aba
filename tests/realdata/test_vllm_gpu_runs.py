"""Eight load runs on one GPU with one vLLM server: two samples a second, billed at $1.00 a GPU-hour."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.realdata.conftest import Home
from tests.realdata.ties import ingest

ANCHOR = 1_770_986_400
"""What the mapping adds to the monotonic clock, in seconds."""

RUNS = {
    # load scale: samples, seconds from first to last, mean utilisation in percent, idle USD at $1.00 a GPU-hour
    100: (839, 420.1, 37.939, 0.072415),
    200: (508, 254.2, 39.652, 0.042607),
    400: (368, 184.0, 38.272, 0.031543),
    500: (337, 168.4, 38.196, 0.028918),
    600: (317, 158.4, 38.344, 0.027133),
    800: (292, 145.9, 37.226, 0.025440),
    900: (290, 144.9, 37.276, 0.025242),
    2000: (267, 133.3, 33.206, 0.024741),
}
WITH_GAP = "scale 100 without a minute"


def read_run(folder: Path, scale: int) -> list[dict]:
    """The samples of a run in the order of time.

    The log is one object keyed by number. Each sample gets an equal share of the run, as in the published figures.
    """
    with gzip.open(folder / f"gpu_log_scale{scale}_prompt500.json.gz", "rt", encoding="utf-8") as file:
        samples = sorted(json.load(file).values(), key=lambda sample: sample["record_time"])
    seconds = samples[-1]["record_time"] - samples[0]["record_time"]
    return [sample | {"run": f"scale {scale}", "interval_seconds": seconds / len(samples)} for sample in samples]


def bill_line(run: str, samples: list[dict]) -> dict[str, object]:
    """A FOCUS line of one GPU from a run's first sample to its last."""
    first, last = (datetime.fromtimestamp(ANCHOR + samples[place]["record_time"], UTC) for place in (0, -1))
    hours = Decimal((last - first) / timedelta(hours=1)).quantize(Decimal("1e-12"))
    return {
        **dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), hours),
        "BillingCurrency": "USD",
        "ChargePeriodStart": first.isoformat(),
        "ChargePeriodEnd": last.isoformat(),
        "BillingPeriodStart": "2026-08-01T00:00:00Z",
        "BillingPeriodEnd": "2026-09-01T00:00:00Z",
        "ChargeCategory": "Usage",
        **dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), hours),
        **dict.fromkeys(("ConsumedUnit", "PricingUnit"), "Hours"),
        "PricingCategory": "Standard",
        "ResourceId": run,
        "RegionId": "test",
        "ServiceCategory": "Compute",
        "ServiceName": "GPU",
        "ProviderName": "test",
        "BillingAccountId": "1",
        "SkuPriceDetails": '{"GpuCount": 1}',
    }


@pytest.fixture(scope="module")
def gap(home: Home, real_data, tmp_path_factory) -> list[dict]:
    """All runs and their bill in the marts, and the first run once more without a minute, which is returned."""
    runs = {f"scale {scale}": read_run(real_data / "vllm_gpu_runs", scale) for scale in RUNS}
    whole = runs["scale 100"]
    start = whole[0]["record_time"]
    missing = [sample for sample in whole if 60 <= sample["record_time"] - start < 120]
    runs[WITH_GAP] = [sample | {"run": WITH_GAP} for sample in whole if sample not in missing]
    folder = tmp_path_factory.mktemp("runs")
    with open(folder / "samples.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(sample) + "\n" for samples in runs.values() for sample in samples)
    with open(folder / "bill.csv", "w", newline="", encoding="utf-8") as file:
        lines = [bill_line(run, samples) for run, samples in runs.items()]
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert {scale: len(runs[f"scale {scale}"]) for scale in RUNS} == {scale: RUNS[scale][0] for scale in RUNS}
    ingest(home, folder / "samples.jsonl", "vllm_gpu", "gpu")
    home.run("ingest", folder / "bill.csv", "--format", "focus", "--source", "bill")
    home.publish()
    return missing


def run_hours(home: Home, run: str) -> dict:
    """What a run's seconds and dollars went to."""
    (row,) = home.query(
        f"""
        select
            sum(billed_seconds) as billed_seconds,
            sum(effective_cost_usd) as paid_usd,
            sum(active_usd) as active_usd,
            sum(loaded_idle_usd + unallocated_usd) as idle_usd,
            sum(unknown_usd) as unknown_usd,
            sum(active_seconds) as active_seconds,
            sum(loaded_idle_seconds + unallocated_seconds) as idle_seconds,
            sum(unknown_seconds) as unknown_seconds
        from core.fct_gpu_hours where resource_id = '{run}'
        """
    )
    return {name: float(value) for name, value in row.items()}


@pytest.mark.parametrize("scale", RUNS)
@pytest.mark.usefixtures("gap")
def test_utilisation_and_idle_dollars_of_each_load(home: Home, scale):
    _, seconds, utilisation, idle_usd = RUNS[scale]
    hours = run_hours(home, f"scale {scale}")

    assert hours["billed_seconds"] == pytest.approx(seconds, abs=0.06)
    assert 100 * hours["active_usd"] / hours["paid_usd"] == pytest.approx(utilisation, rel=1e-3)
    assert hours["idle_usd"] == pytest.approx(idle_usd, rel=1e-3)
    assert hours["unknown_usd"] < 1e-3 * hours["paid_usd"]
    assert hours["active_usd"] + hours["idle_usd"] + hours["unknown_usd"] == pytest.approx(hours["paid_usd"], abs=1e-9)


def test_a_minute_without_samples_is_unknown_and_not_idle(home: Home, gap):
    whole, holed = run_hours(home, "scale 100"), run_hours(home, WITH_GAP)
    seconds = sum(sample["interval_seconds"] for sample in gap)
    idle = sum(sample["interval_seconds"] * (100 - sample["GPU_utilization"]) / 100 for sample in gap)

    assert holed["billed_seconds"] == pytest.approx(whole["billed_seconds"], abs=1e-3)
    assert holed["unknown_seconds"] == pytest.approx(whole["unknown_seconds"] + seconds, abs=0.01)
    assert holed["unknown_usd"] == pytest.approx(whole["unknown_usd"] + seconds / 3600, abs=1e-5)
    assert whole["idle_seconds"] - holed["idle_seconds"] == pytest.approx(idle, abs=0.01)
    assert idle > 5
