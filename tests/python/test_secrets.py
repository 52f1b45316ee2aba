"""Secrets and message texts that a home's run gets to see stand in none of its files, and in nothing that it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pertask.home import Home
from tests.python.conftest import spend_log_row
from tests.python.publish import hooks

SECRETS = {
    "PERTASK_ALERT_WEBHOOK": hooks.CANARY.rsplit("/", 1)[-1],
    "AWS_SECRET_ACCESS_KEY": "awscanarysecretx",
    "AWS_SESSION_TOKEN": "tokencanarysecretx",
    "PERTASK_POSTGRES_URL": "postgrescanarysecretx",
}
TEXT = "promptcanarytextx"
TEAM = "teamcanaryvisiblex"
"""What is to be found: it shows that the search sees into each kind of file."""

SOURCES = """\
sources:
  gateway: {path: landing/gateway, format: litellm_spend_logs, stale_after_hours: 1}
  bot: {path: landing/bot, format: mapping, mapping: mappings/bot.yml}
  spans: {path: landing/spans, format: otlp}
  bucket: {path: 's3://no-such-bucket/logs/', format: litellm_spend_logs, endpoint: 'http://127.0.0.1:9'}
limits: {quarantined_ratio: 1}
"""
MAPPING = """\
contract: llm_calls
format: csv
columns: {call_id: id, started_at: started, provider: "'openai'", model: model, input_tokens: read}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, str, list[dict]]]:
    """A home after a run whose alert was refused and an export that failed: what was printed, and what was sent."""
    home = Home(tmp_path_factory.mktemp("secrets") / "home")
    write_home(home)
    with hooks.serving() as hook:
        # a server that repeats what it was asked with
        hook.replies = [hooks.status(403, f"no such token: {hooks.CANARY}") for _ in range(20)]
        environment = {
            **os.environ,
            "PERTASK_HOME": str(home.root),
            "PERTASK_ALERT_WEBHOOK": hook.url,
            "PERTASK_POSTGRES_URL": f"postgresql://finops:{SECRETS['PERTASK_POSTGRES_URL']}@127.0.0.1:9/marts",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRETS["AWS_SECRET_ACCESS_KEY"],
            "AWS_SESSION_TOKEN": SECRETS["AWS_SESSION_TOKEN"],
        }
        printed = ""
        for arguments, code in (
            (["run"], 3),
            (["alerts", "test"], 1),
            (["export", "postgres"], 1),
            (["export", "csv"], 0),
            (["export", "xlsx"], 0),
            (["status"], 0),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "pertask", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            printed += done.stdout + done.stderr
            assert done.returncode == code, printed
        yield home, printed, hook.received


def write_home(home: Home) -> None:
    for folder in ("landing/gateway", "landing/bot", "landing/spans", "mappings", "company"):
        (home.root / folder).mkdir(parents=True)
    home.config_file.write_text(SOURCES)
    (home.root / "mappings" / "bot.yml").write_text(MAPPING)
    said = {
        "messages": [{"role": "user", "content": TEXT}],
        "response": {"choices": [{"message": {"content": TEXT}}]},
        "proxy_server_request": {"body": {"messages": TEXT}},
        "api_key": TEXT,
        "requester_ip_address": TEXT,
        "team_id": TEAM,
    }
    trouble = {"error_information": {"error_message": TEXT, "traceback": TEXT, "error_class": "Timeout"}}
    rows = [
        json.dumps(spend_log_row("good", **said)),
        json.dumps(spend_log_row("failed", **said, status="failure", metadata=trouble)),
        json.dumps(spend_log_row("no-number", **said, prompt_tokens=TEXT)),
        json.dumps(spend_log_row("no-time", started_at=TEXT, **said)),
        f'{{"request_id": "broken", "messages": "{TEXT}',
    ]
    (home.root / "landing/gateway/log.jsonl").write_text("\n".join(rows) + "\n")
    (home.root / "landing/gateway/unreadable.jsonl").write_text(f"{TEXT}\n{TEXT}\n")
    lines = ["id,started,model,read,prompt", f"b1,2026-08-01T10:00:00Z,gpt-4o,10,{TEXT}", f"b2,{TEXT},gpt-4o,10,{TEXT}"]
    (home.root / "landing/bot/log.csv").write_text("\n".join([*lines, f"b3,2026-08-01,gpt-4o,{TEXT},x", ""]))
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.provider.name": "openai",
        "gen_ai.input.messages": TEXT,
        "gen_ai.output.messages": TEXT,
        "gen_ai.prompt.0.content": TEXT,
        "llm.input_messages.0.message.content": TEXT,
        "http.request.header.authorization": TEXT,
    }
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": f"chat {TEXT}",
        "startTimeUnixNano": "1785578400000000000",
        "endTimeUnixNano": "1785578401000000000",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
        "events": [{"name": "exception", "attributes": [{"key": "message", "value": {"stringValue": TEXT}}]}],
        "status": {"code": 2, "message": TEXT},
    }
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (home.root / "landing/spans/spans.jsonl").write_text(json.dumps(export) + "\n")


def contents(path: Path) -> bytes:
    """The bytes of a file, and of what is packed in it."""
    packed = b""
    if path.suffix == ".parquet":
        packed = "\n".join(map(str, duckdb.sql(f"from '{path}'").fetchall())).encode()
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.sql("select schema_name, table_name from duckdb_tables()").fetchall()
            for schema, table in tables:
                packed += "\n".join(map(str, connection.sql(f'from "{schema}"."{table}"').fetchall())).encode()
    elif path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as workbook:
            packed = b"".join(map(workbook.read, workbook.namelist()))
    return path.read_bytes() + packed


@pytest.fixture(scope="module")
def files(run: tuple[Home, str, list[dict]]) -> dict[str, bytes]:
    home, _, _ = run
    paths = [path for path in home.root.rglob("*") if path.is_file() and not path.is_relative_to(home.landing)]
    return {str(path.relative_to(home.root)): contents(path) for path in paths}


def test_the_search_sees_into_every_kind_of_file(files: dict[str, bytes]) -> None:
    seen = {Path(name).suffix for name, content in files.items() if TEAM.encode() in content}
    assert {".parquet", ".duckdb", ".csv", ".xlsx"} <= seen
    history = [content for name, content in files.items() if "dagster/history" in name]
    assert any(b"MaterializeResult" in content or b"ASSET_MATERIALIZATION" in content for content in history)
    for name in (
        "warehouse/alerts.json",
        "warehouse/last_run.json",
        "warehouse/logs/run.log",
        "warehouse/logs/dbt.log",
    ):
        assert name in files
    assert any(name.startswith("warehouse/data_docs/") for name in files)
    assert "published/report/index.html" in files


@pytest.mark.parametrize("canary", [*SECRETS.values(), TEXT])
def test_no_file_of_the_home_holds_it(canary: str, files: dict[str, bytes]) -> None:
    assert [name for name, content in files.items() if canary.encode() in content] == []


@pytest.mark.parametrize("canary", [*SECRETS.values(), TEXT])
def test_nothing_printed_or_sent_holds_it(canary: str, run: tuple[Home, str, list[dict]]) -> None:
    _, printed, sent = run
    assert sent, "no alert was tried"
    assert "webhook" in printed
    assert canary not in printed
    assert canary not in json.dumps(sent)


def test_rows_that_held_it_were_set_aside(run: tuple[Home, str, list[dict]]) -> None:
    home, _, _ = run
    with duckdb.connect(str(home.published_file), read_only=True) as connection:
        sources = connection.sql("select source from quality.quarantined_rows").fetchall()
    assert {("gateway",), ("bot",)} <= set(sources)
