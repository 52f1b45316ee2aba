"""The page of the benchmark: what was measured stands in it, and a target is judged at its own size alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "bench"))
    import page

    yield page
    sys.modules.pop("page")


def _usage(seconds: float) -> dict[str, float]:
    return {"seconds": seconds, "cpu_seconds": seconds, "peak_gib": 1.0}


def _ingested(seconds: float) -> dict:
    sources = ("outcomes", "bill", "telemetry", "windows", "links")
    return {
        "gateway": {**_usage(seconds), "bytes": 500_000},
        "bare copy": _usage(10),
        **{source: _usage(1) for source in sources},
        "everything": _usage(seconds + 5),
        "lake_bytes": 30_000,
    }


def _written(page, results, folder: Path) -> str:
    page.write(results, folder / "page.md")
    return (folder / "page.md").read_text()


def test_a_page_can_be_written_of_nothing(page, tmp_path):
    assert "Nothing has been measured yet." in _written(page, page.Results(tmp_path / "results.json"), tmp_path)


def test_parts_are_kept_and_one_replaces_its_own_earlier_run(page, tmp_path):
    results = page.Results(tmp_path / "results.json")
    results.keep("ingest", 1_000, _ingested(30))
    results.keep("unchanged", 1_000, _usage(7))
    results.keep("ingest", 1_000, _ingested(19))
    text = _written(page, page.Results(tmp_path / "results.json"), tmp_path)
    assert "| ingest of the log, of a bare copy | 1,000 | 1.90 x | 2 x | met |" in text
    assert "3.00 x" not in text
    assert "|  | 1,000 | 500 | 30 |  |  |" in text
    assert "| a run with nothing new | 1,000 | 7.0 s | 15 s | met |" in text


def test_a_target_of_one_size_is_not_judged_at_another(page, tmp_path):
    results = page.Results(tmp_path / "results.json")
    for size in (1_000_000, 10_000_000):
        results.keep("queries", size, {"queries": {}, "median": 0.3, "worst": 1.0, "worst_cold": 3.0})
    text = _written(page, results, tmp_path)
    assert "| queries, median | 1,000,000 | 300 ms | 200 ms |  |" in text
    assert "| queries, median | 10,000,000 | 300 ms | 200 ms | **missed** |" in text
    assert "| queries, worst | 10,000,000 | 1000 ms | 2000 ms | met |" in text


def test_a_baseline_that_failed_has_no_time_and_no_ratio(page, tmp_path):
    results = page.Results(tmp_path / "results.json")
    results.keep("ingest", 1_000, _ingested(20))
    results.keep("models", 1_000, {"four marts": {**_usage(15), "models": {"one": 1.0}}, "all models": _usage(20)})
    results.keep("baselines/pandas_whole", 1_000, {"whole-path": {"failure": "its answer differs in 2 places"}})
    results.keep("baselines/duckdb_by_hand", 1_000, {"whole-path": _usage(20), "from-lake": _usage(6)})
    text = _written(page, results, tmp_path)
    assert "| pandas, the whole path | 1,000 | its answer differs in 2 places |  |  |  |" in text
    # 25 of ingest, 15 of the models
    assert "| DuckDB by hand, the whole path | 1,000 | 20.0 | 20.0 | 1.00 | 0.50 |" in text
    assert "| the four marts from the lake, of the script by hand | 1,000 | 2.50 x | 3 x |  |" in text


def test_a_days_build_is_held_against_the_shorter_history(page, tmp_path):
    results = page.Results(tmp_path / "results.json")
    for days, seconds in ((30, 10.0), (365, 12.0)):
        build = _usage(seconds)
        steps = {"ingest": _usage(2), "build": build, "publish": _usage(3)}
        told = {"calls_a_day": 33_333, "recomputed_days": [31, 2, 3], "builds": [_usage(30.0), build, build]}
        results.keep("incremental", days, {**steps, **told})
    text = _written(page, results, tmp_path)
    assert "| a day's build on 365 days of history, of 30 days | 33,333 a day | 1.20 x | 1.25 x | met |" in text
    assert "| 30.0 s (31), 12.0 s (2), 12.0 s (3) |" in text
