"""How long each log format takes beside a bare copy of the same file: ``python bench/formats.py [ROWS] [NAME ...]``.

Writes ROWS (default 1,000,000) rows of every format to a scratch folder, one format at a time, then times in turn and
in processes of their own ingest and a bare DuckDB ``COPY (SELECT * FROM read_json(...)) TO parquet``, and prints the
ratio of the medians. For the spend logs it also prints the seconds that pricing them took (names, matches of sources,
costs) beside those of one pass over their Parquet files.
"""

from __future__ import annotations

import json
import multiprocessing
import os
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
TARGET_RATIO = 5.0

_TIME = "timestamp '2026-07-01' + to_microseconds(i * 2592000)"
_NANOS = "(epoch_us({}) * 1000)::varchar"
_SPAN = f"""{{
    'traceId': md5('t' || i // 5), 'spanId': left(md5('s' || i), 16), 'name': 'chat gpt-5-mini', 'kind': 3,
    'startTimeUnixNano': {_NANOS.format(_TIME)}, 'endTimeUnixNano': {_NANOS.format(_TIME + " + interval 2 second")},
    'attributes': [
        {{'key': 'gen_ai.operation.name', 'value': {{'stringValue': 'chat'}}}},
        {{'key': 'gen_ai.provider.name', 'value': {{'stringValue': 'openai'}}}},
        {{'key': 'gen_ai.response.model', 'value': {{'stringValue': 'gpt-5-mini'}}}},
        {{'key': 'gen_ai.response.id', 'value': {{'stringValue': 'chatcmpl-' || i}}}},
        {{'key': 'gen_ai.usage.input_tokens', 'value': {{'stringValue': (1000 + i % 500)::varchar}}}},
        {{'key': 'gen_ai.usage.output_tokens', 'value': {{'stringValue': (200 + i % 200)::varchar}}}},
        {{'key': 'pertask.task_id', 'value': {{'stringValue': 't' || i // 5}}}}
    ]
}}"""
_CLOCK = f"strftime({_TIME}, '%Y-%m-%dT%H:%M:%S.%fZ')"
_USAGE = """{
    'prompt_tokens': 1000 + i % 500, 'completion_tokens': 200 + i % 200, 'total_tokens': 1200 + i % 700,
    'prompt_tokens_details': {'cached_tokens': 400}, 'completion_tokens_details': {'reasoning_tokens': 50}
}"""
_SPEND = """
    'chatcmpl-' || i as request_id, 'acompletion' as call_type, 0.0035 as spend, 1000 + i % 500 as prompt_tokens,
    200 + i % 200 as completion_tokens, 'gpt-5-mini' as model, 'openai' as custom_llm_provider, 'support' as team_id,
    'success' as status"""

QUERIES = {
    "litellm_spend_logs": f"""select {_SPEND}, {_CLOCK} as "startTime", {_CLOCK} as "endTime",
        {{'spend_logs_metadata': {{'task_id': 't' || i // 5}}, 'usage_object': {_USAGE}}} as metadata""",
    "litellm_payload": f"""select 'chatcmpl-' || i as id, 'trace-' || i as trace_id, 'acompletion' as call_type,
        0.0035 as response_cost, 'success' as status, 1000 + i % 500 as prompt_tokens,
        200 + i % 200 as completion_tokens, epoch({_TIME}) as "startTime", epoch({_TIME}) + 2 as "endTime",
        'gpt-5-mini' as model, 'openai' as custom_llm_provider, {{'a': 1}} as model_parameters,
        {{'b': '1'}} as hidden_params,
        {{'spend_logs_metadata': {{'task_id': 't' || i // 5}}, 'usage_object': {_USAGE}}} as metadata""",
    "langfuse": f"""select left(md5('s' || i), 16) as id, md5('t' || i // 5) as trace_id, 'p' as project_id,
        'GENERATION' as type, {_CLOCK} as start_time, {_CLOCK} as end_time, 'chat' as name, 'DEFAULT' as level,
        'gpt-5-mini' as provided_model_name, 0.0035 as total_cost, '' as parent_observation_id,
        'production' as environment,
        {{'input': 600 + i % 500, 'input_cached_tokens': 400, 'output': 150 + i % 200, 'output_reasoning_tokens': 50}}
            as usage_details,
        {{'total': 0.0035}} as cost_details, {{'task_id': 't' || i // 5}} as metadata""",
    "otlp": f"""select [{{'resource': {{'attributes': [{{'key': 'service.name', 'value': {{'stringValue': 'desk'}}}}]}},
        'scopeSpans': [{{'spans': list({_SPAN})}}]}}] as "resourceSpans" """,
    "helicone": f"""select 'req-' || i as request_id, 'chatcmpl-' || i as response_id, {_CLOCK} as request_created_at,
        {_CLOCK} as response_created_at, 200 as status, 2000 as latency, 600 + i % 500 as prompt_tokens,
        400 as prompt_cache_read_tokens, 150 + i % 200 as completion_tokens, 50 as reasoning_tokens,
        'gpt-5-mini' as model, 'OPENAI' as provider, 3500000 as cost, 'org' as organization_id,
        {{'Task-Id': 't' || i // 5, 'Team': 'support'}} as properties""",
    "copilot_traces": f"""select 's' || i // 8 as session_id, [{{'turn_id': 't' || i // 8, 'llm_calls': list({{
        'message_id': 'm' || i, 'timestamp': {_CLOCK}, 'duration_ms': 2000, 'initiator_type': 'agent',
        'model': 'gpt-5-mini', 'result': 'Success', 'status_code': 200, 'tokens': {{'total': 1200, 'prompt': 1000,
        'completion': 200, 'cached': 800, 'cached_pct': 80.0}}}}), 'tool_batches': []::varchar[]}}] as turns""",
}
"""Per format, the SQL of its file over ``calls (i)``; a query that ends in a list is grouped in eights."""
GROUPED = {"otlp": "i // 8", "copilot_traces": "i // 8"}


def generate(name: str, path: Path, rows: int) -> None:
    """Write a file of a format with so many calls."""
    import duckdb

    grouping = f" group by {GROUPED[name]}" if name in GROUPED else ""
    duckdb.execute(f"copy ({QUERIES[name]} from range({rows}) as calls (i){grouping}) to '{path}' (format json)")


def bare_copy(path: Path, folder: Path) -> None:
    """The baseline: the same file to Parquet, as DuckDB reads it."""
    import duckdb

    duckdb.execute(f"copy (select * from read_json('{path}')) to '{folder / 'bare.parquet'}' (format parquet)")


def pertask_ingest(path: Path, folder: Path) -> None:
    """The file through ingest, into an empty lake."""
    from ingest.runner import IngestRequest, ingest

    (result,) = ingest(folder / "lake", [IngestRequest("log", path, path.stem)])
    if result.state != "committed" or result.rows_quarantined:
        raise SystemExit(f"ingest did not load the file: {result}")


def pricing(path: Path, folder: Path) -> tuple[float, float]:
    """Seconds of pricing the calls of a file, and of one pass over their Parquet files."""
    import duckdb

    from orchestration.lib import builds
    from pertask.home import Home

    home = Home(folder / "home")
    home.root.mkdir()
    pertask_ingest(path, home.root)
    builds.prepare(home)
    os.environ.update(builds.environment(home))
    from dbt.cli.main import dbtRunner

    models_alone = ["--exclude-resource-type", "test", "--select", "+fct_call_attempts"]
    done = dbtRunner().invoke(["--quiet", *builds.arguments(home, full_refresh=True), *models_alone])
    if not done.success:
        raise SystemExit(f"the build failed: {done.exception}")
    models = {
        result["unique_id"].split(".")[-1]: result["execution_time"]
        for result in json.loads((home.target / "run_results.json").read_bytes())["results"]
        if result["unique_id"].startswith("model.")
    }
    start = time.perf_counter()
    duckdb.execute(
        f"create table pass as select * from read_parquet('{home.lake}/llm_calls/**/*.parquet', union_by_name=true)"
    )
    return models["fct_call_attempts"] + models["int_model_names"] + models[
        "int_shared_calls"
    ], time.perf_counter() - start


def measure(work: Callable[[Path, Path], None], path: Path) -> tuple[float, float]:
    """Run in a process of its own; returns (seconds, peak GiB)."""
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
        start = time.perf_counter()
        work(path, Path(folder))
        seconds = time.perf_counter() - start
    send.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def main() -> None:
    """Print the tables and whether the target is met."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    names = sys.argv[2:] or list(QUERIES)
    folder = Path(tempfile.mkdtemp(prefix="pertask-bench-"))
    try:
        print(f"{rows:,} calls a format; medians of {ROUNDS} rounds")
        print(f"{'format':<20} {'MB':>6} {'copy s':>8} {'ingest s':>9} {'ratio':>6} {'GiB':>6}")
        for name in names:
            path = folder / f"{name}.jsonl"
            generate(name, path, rows)
            pairs = [(measure(bare_copy, path)[0], measure(pertask_ingest, path)) for _ in range(ROUNDS)]
            copy, ours = (statistics.median(column) for column in ([p[0] for p in pairs], [p[1][0] for p in pairs]))
            peak = max(pair[1][1] for pair in pairs)
            verdict = "" if ours / copy <= TARGET_RATIO else f"  above {TARGET_RATIO}"
            size = path.stat().st_size / 1e6
            print(
                f"{name:<20} {size:>6.0f} {copy:>8.2f} {ours:>9.2f} {ours / copy:>6.2f} {peak:>6.2f}{verdict}",
                flush=True,
            )
            if name == "litellm_spend_logs":
                priced, passed = pricing(path, folder)
                print(f"{'  pricing them':<20} {'':>6} {passed:>8.2f} {priced:>9.2f} {priced / passed:>6.2f}")
            path.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
