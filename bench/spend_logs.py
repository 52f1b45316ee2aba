"""How long ingest takes beside a bare copy of the same file: ``python bench/spend_logs.py [ROWS]``.

Writes ROWS (default 5,000,000) LiteLLM spend-log lines to a scratch folder, then times, in turn and in processes of
their own, `pertask`'s ingest and a bare DuckDB ``COPY (SELECT * FROM read_json(...)) TO parquet``, and prints the ratio
of each pair, in seconds that passed and in CPU seconds (which other work on the machine sways less), and the peak
memory of ingest. Ingest does what the copy does not: it hashes the file, checks every value, renames and splits the
columns, and commits parts by date.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# The packages must be found wherever this is started from, here and in the processes that it starts.
sys.path[0] = str(Path(__file__).resolve().parents[1])

ROUNDS = 3
TARGET_RATIO = 2.0
TARGET_GIB = 4.0


def generate(path: Path, rows: int) -> None:
    """Write ``rows`` spend-log lines: one call in five starts a task, sixty days, three models."""
    import duckdb

    step = max(1, 60 * 86_400_000_000 // rows)
    duckdb.execute(
        f"""
        copy (
            select
                'chatcmpl-' || lpad(cast(i as varchar), 10, '0') as request_id,
                'acompletion' as call_type,
                round(0.001 + (i % 997) / 100000, 6) as spend,
                1000 + i % 500 as prompt_tokens,
                200 + i % 200 as completion_tokens,
                strftime(timestamp '2026-07-01' + to_microseconds(i * {step}), '%Y-%m-%dT%H:%M:%S.%f') as "startTime",
                strftime(timestamp '2026-07-01' + to_microseconds(i * {step} + 2500000), '%Y-%m-%dT%H:%M:%S.%f')
                    as "endTime",
                ['gpt-5-mini', 'gpt-5.6-sol', 'gpt-4o'][1 + i % 3] as model,
                'openai' as custom_llm_provider,
                'support' as team_id,
                {{'spend_logs_metadata': {{'task_id': 't' || i // 5}}}} as metadata,
                'success' as status
            from range({rows}) as calls (i)
        ) to '{path}' (format json)
        """
    )


def bare_copy(path: Path, folder: Path) -> None:
    """The baseline: the same file to Parquet, as DuckDB reads it."""
    import duckdb

    duckdb.execute(f"copy (select * from read_json('{path}')) to '{folder / 'bare.parquet'}' (format parquet)")


def pertask_ingest(path: Path, folder: Path) -> None:
    """The same file through ingest, into an empty lake."""
    from ingest.runner import IngestRequest, ingest

    (result,) = ingest(folder / "lake", [IngestRequest("gateway", path)])
    if result.state != "committed" or result.rows_quarantined:
        raise SystemExit(f"ingest did not load the file: {result}")


def measure(work: Callable[[Path, Path], None], path: Path) -> tuple[float, float, float]:
    """Run in a process of its own; returns (seconds, peak GiB, CPU seconds of all threads)."""
    receive, send = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_timed, args=(work, path, send))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)
    return receive.recv()


def _timed(work: Callable[[Path, Path], None], path: Path, send: object) -> None:
    import duckdb  # noqa: F401  (both sides start with it loaded)

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        work(path, Path(folder))
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    send.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, cpu_seconds))


def main() -> None:
    """Print the table and whether the targets are met."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    folder = Path(tempfile.mkdtemp(prefix="pertask-bench-"))
    try:
        path = folder / "spend_logs.jsonl"
        generate(path, rows)
        print(f"{rows:,} LiteLLM spend-log lines, {path.stat().st_size / 1e9:.2f} GB")
        print(f"{'round':>5} {'copy s':>8} {'ingest s':>9} {'ratio':>6} {'CPU ratio':>10} {'ingest GiB':>11}")
        ratios, cpu_ratios, peaks = [], [], []
        for number in range(1, ROUNDS + 1):
            copy_seconds, _, copy_cpu = measure(bare_copy, path)
            ingest_seconds, peak, ingest_cpu = measure(pertask_ingest, path)
            ratios.append(ingest_seconds / copy_seconds)
            cpu_ratios.append(ingest_cpu / copy_cpu)
            peaks.append(peak)
            print(
                f"{number:>5} {copy_seconds:>8.2f} {ingest_seconds:>9.2f} {ratios[-1]:>6.2f} {cpu_ratios[-1]:>10.2f} "
                f"{peak:>11.2f}"
            )
        ratio, peak = statistics.median(ratios), max(peaks)
        verdict = "met" if ratio <= TARGET_RATIO and peak < TARGET_GIB else "missed"
        print(f"median CPU ratio {statistics.median(cpu_ratios):.2f}")
        print(f"median ratio {ratio:.2f} (target {TARGET_RATIO}), peak {peak:.2f} GiB (target {TARGET_GIB}): {verdict}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
