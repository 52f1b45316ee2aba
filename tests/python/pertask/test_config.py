"""pertask.yml: what is accepted, what it means, and errors that name line and column."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.buckets import Bucket
from ingest.runner import IngestRequest
from pertask.config import Alerts, Config, ConfigError, load_config
from pertask.home import Home
from pertask.scaffold import CONFIGURATION

MAPPING = "contract: tasks\nformat: csv\ncolumns: {task_id: id}\n"


def write(folder: Path, text: str | bytes) -> Home:
    home = Home(folder)
    home.config_file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return home


def problems(folder: Path, text: str | bytes) -> list[str]:
    """What is wrong, a line each, without the file's folder."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text))
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("text", [None, "", "# only a comment\n", "sources:\n  # none yet\nlimits:\n"])
def test_without_content_there_are_no_sources_and_default_limits(tmp_path, text):
    home = Home(tmp_path) if text is None else write(tmp_path, text)
    config = load_config(home)
    assert config == Config()
    assert (config.sources, config.limits.quarantined_ratio) == ({}, 0.01)


def test_a_source_becomes_a_request(tmp_path):
    home = write(
        tmp_path,
        """\
sources:
  plain: {path: landing}
  full:
    path: /elsewhere/*.csv
    format: litellm_spend_logs
    delivered_at: 2026-09-01 05:30
    time_zone: Asia/Kolkata
    token_convention: {input_includes_cached: false}
  bot: {path: landing, format: mapping, mapping: maps/bot.yml, delivered_at: 2026-09-01T00:00:00Z}
limits: {quarantined_ratio: 0}
""",
    )
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "bot.yml").write_text(MAPPING)
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "one.jsonl").write_text("{}")

    config = load_config(home)

    moment = datetime(2026, 9, 1, tzinfo=UTC)
    assert config.requests(home) == [
        IngestRequest("plain", tmp_path / "landing"),
        IngestRequest("bot", tmp_path / "landing", "mapping", tmp_path / "maps" / "bot.yml", moment),
    ]
    assert config.sources["full"].request("full", home) == IngestRequest(
        "full", Path("/elsewhere/*.csv"), "litellm_spend_logs", None, moment, "Asia/Kolkata", (False, None)
    )
    assert config.limits.quarantined_ratio == 0


def test_a_source_that_delivered_nothing_yet_is_left_out_and_named(tmp_path):
    home = write(
        tmp_path,
        "sources: {absent: {path: no/such}, empty: {path: empty}, glob: {path: 'x/*.csv'}, marker: {path: marker}, "
        "there: {path: there}, found: {path: 'there/*/*.csv'}}",
    )
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    (tmp_path / "marker").mkdir()
    (tmp_path / "marker" / ".gitkeep").write_text("")
    (tmp_path / "there" / "sub").mkdir(parents=True)
    (tmp_path / "there" / "sub" / "a.csv").write_text("a")

    config = load_config(home)

    assert [request.source for request in config.requests(home)] == ["there", "found"]
    assert [absent.source for absent in config.undelivered(home)] == ["absent", "empty", "glob", "marker"]
    assert config.undelivered(home)[0].path == tmp_path / "no" / "such"


def test_a_source_in_a_bucket_becomes_a_request_for_its_mirror(tmp_path):
    home = write(
        tmp_path,
        "sources: {bill: {path: 's3://acme-bills/cur/', format: aws_cur, endpoint: 'https://minio.acme.internal:9000', "
        "region: eu-west-1}, logs: {path: 's3://acme-logs/*/*.jsonl'}}",
    )
    config = load_config(home)
    bill = Bucket("bill", "s3://acme-bills/cur/", home.buckets, "https://minio.acme.internal:9000", "eu-west-1")
    mirrors = tmp_path / "landing" / "_buckets"
    assert config.requests(home) == [
        IngestRequest("bill", mirrors / "bill" / "acme-bills" / "cur", "aws_cur", bucket=bill),
        IngestRequest(
            "logs",
            mirrors / "logs" / "acme-logs" / "*" / "*.jsonl",
            bucket=Bucket("logs", "s3://acme-logs/*/*.jsonl", home.buckets),
        ),
    ]
    assert [absent.path for absent in config.undelivered(home)] == ["s3://acme-bills/cur/", "s3://acme-logs/*/*.jsonl"]


def test_the_example_of_the_page_on_buckets_is_accepted(tmp_path):
    page = (Path(__file__).resolve().parents[3] / "docs" / "buckets.md").read_text(encoding="utf-8")
    home = write(tmp_path, page.split("```yaml\n")[1].split("```")[0])
    sources = load_config(home).sources
    assert [source.bucket(name, home).name for name, source in sources.items()] == [
        "acme-billing",
        "acme-logs",
        "traces",
    ]


def test_what_is_wrong_with_a_bucket_is_told_without_a_secret(tmp_path):
    text = """\
sources:
  a: {path: "s3://"}
  b: {path: "gs://bucket/x"}
  c: {path: "s3://bucket/../x"}
  d: {path: landing, region: eu-west-1}
  e: {path: "s3://bucket", endpoint: "minio:9000"}
  f: {path: "s3://bucket", endpoint: "https://AKIA:canary@minio:9000"}
  g: {path: "s3://bucket", region: "eu west"}
  h: {path: "s3://bucket", endpoint: "https://minio/bucket"}
  i: {path: "s3://buck*/x"}
  j: {path: "s3://canary:can/ary@bucket/x"}
  k: {path: "gs://canary@bucket"}
  l: {path: "s3://bucket/can@ary@x//y"}
  m: {path: "s3://bucket", endpoint: "canary:canary@minio:9000"}
  n: {path: "s3://bucket", endpoint: "https://canary:canary[@minio"}
"""
    found = problems(tmp_path, text)
    assert found == [
        "pertask.yml:2:13: sources.a.path: 's3://' is no address of a bucket. Write it as s3://bucket/folder/.",
        "pertask.yml:3:13: sources.b.path: 'gs://bucket/x' is no address of a bucket. Write it as s3://bucket/folder/.",
        (
            "pertask.yml:4:13: sources.c.path: 's3://bucket/../x' cannot be mirrored: a part between slashes is empty, "
            "or made of dots."
        ),
        "pertask.yml:5:30: sources.d.region: this is for a bucket, and the path here does not begin with s3://",
        "pertask.yml:6:38: sources.e.endpoint: 'minio:9000' is no endpoint. Write it as https://host or https://host:port.",
        (
            "pertask.yml:7:38: sources.f.endpoint: credentials do not belong here. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY instead."
        ),
        "pertask.yml:8:36: sources.g.region: 'eu west' is no region. Write it as eu-west-1.",
        (
            "pertask.yml:9:38: sources.h.endpoint: 'https://minio/bucket' is no endpoint. Write it as https://host or "
            "https://host:port."
        ),
        "pertask.yml:10:13: sources.i.path: 's3://buck*/x' is no address of a bucket. Write it as s3://bucket/folder/.",
        *(
            f"pertask.yml:{line}:13: sources.{name}.path: '{shown}@bucket{rest}' is no address of a bucket. Write it "
            "as s3://bucket/folder/. Credentials do not belong in it: they come from the environment."
            for line, name, shown, rest in ((11, "j", "s3://…", "/x"), (12, "k", "gs://…", ""))
        ),
        (
            "pertask.yml:13:13: sources.l.path: 's3://…@x//y' cannot be mirrored: a part between slashes is empty, or "
            "made of dots."
        ),
        *(
            f"pertask.yml:{line}:38: sources.{name}.endpoint: credentials do not belong here. Set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY instead."
            for line, name in ((14, "m"), (15, "n"))
        ),
    ]
    assert "canary" not in "".join(found)


def test_every_problem_is_told_with_its_place_and_a_hint(tmp_path):
    text = """\
# a comment
sources:
  gateway: {path: landing/gw, formt: auto}
  second:
    path: 3
    format: litelm_spend_logs
    time_zone: Asia/Calcuta
    delivered_at: soon
  third: {format: focus}
  fourth: {path: x, token_convention: {input_includes_cached: 1, output_include_reasoning: true}}
  fifth:
limits: {quarantined_ratio: 1.5}
source: {}
"""
    assert problems(tmp_path, text) == [
        "pertask.yml:3:31: sources.gateway.formt: there is no such key. Did you mean format?",
        "pertask.yml:5:11: sources.second.path: a text is expected",
        "pertask.yml:6:13: sources.second.format: 'litelm_spend_logs' is no format. Did you mean litellm_spend_logs?",
        (
            "pertask.yml:7:16: sources.second.time_zone: 'Asia/Calcuta' is no time zone. Use an IANA name, such as "
            "Asia/Kolkata."
        ),
        "pertask.yml:8:19: sources.second.delivered_at: a time is expected, such as 2026-08-19T00:00:00Z",
        "pertask.yml:9:3: sources.third.path: this key is needed",
        "pertask.yml:10:63: sources.fourth.token_convention.input_includes_cached: true or false is expected",
        (
            "pertask.yml:10:66: sources.fourth.token_convention.output_include_reasoning: there is no such key. "
            "Did you mean output_includes_reasoning?"
        ),
        "pertask.yml:11:3: sources.fifth: keys and values are expected, as in {key: value}",
        "pertask.yml:12:29: limits.quarantined_ratio: Input should be less than or equal to 1",
        "pertask.yml:13:1: source: there is no such key. Did you mean sources?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sources:\n  a: {path: x, format: mapping}", "2:3: sources.a.mapping: format mapping needs `mapping: <file>`"),
        (
            "sources:\n  a: {path: x, mapping: m.yml}",
            "2:25: sources.a.mapping: a mapping file is for `format: mapping`",
        ),
        ("limits: {quarantined_ratio: true}", "1:29: limits.quarantined_ratio: a number is expected"),
        ("limits: {row_count_change_ratio: 1}", "1:34: limits.row_count_change_ratio: Input should be less than 1"),
        ("limits: {blocking: row_count}", "1:20: limits.blocking: a list is expected, as in [row_count, volume]"),
        (
            "limits: {blocking: [row_counts]}",
            "1:20: limits.blocking: 'row_counts' is no check that can be made to block. Did you mean row_count?",
        ),
        ("limits: {quarantined_ratio: -0.1}", "1:29: limits.quarantined_ratio: Input should be greater than or equal"),
        ("sources: {a: {path: ''}}", "1:21: sources.a.path: this must not be empty"),
        ("- a\n- b", "1:1: keys and values are expected: sources, allocation, limits, schedule"),
        ("report: {currency: EUR}", "1:20: report.currency: Input should be 'USD', 'INR' or 'GBP'"),
        ("report: {curency: INR}", "1:10: report.curency: there is no such key. Did you mean currency?"),
        (
            "report: {time_zones: {pune-1: Pune}}",
            "1:31: report.time_zones.pune-1: 'Pune' is no time zone. Use an IANA name, such as Asia/Kolkata.",
        ),
        ('report: {time_zones: {"a\'b": UTC}}', "report.time_zones.a'b"),
        ("allocation: {idle: evenly}", "1:20: allocation.idle: Input should be 'by_use', 'even' or 'owner'"),
        ("allocation: {weight: time}", "1:14: allocation.weight: there is no such key. Did you mean weights?"),
        (
            "allocation: {gpu_share_of_node_ratio: 0}",
            "1:39: allocation.gpu_share_of_node_ratio: Input should be greater",
        ),
        ("schedule: {daily_at: '25:00'}", "1:22: schedule.daily_at: '25:00' is no time of day. Write it as 02:15"),
        ("schedule: {daily_at: 2}", "1:22: schedule.daily_at: a text is expected"),
        ("schedule: {at: '02:15'}", "1:12: schedule.at: there is no such key."),
        ("publication: {keep: 0}", "1:21: publication.keep: Input should be greater than or equal to 1"),
        ("alerts: {idle_usd_per_day: -1}", "1:28: alerts.idle_usd_per_day: Input should be greater than or equal to 0"),
        ("alerts: {idle_usd_per_day: .inf}", "1:28: alerts.idle_usd_per_day: Input should be a finite number"),
        ("alerts: {idle_usd_per_day: '5'}", "1:28: alerts.idle_usd_per_day: a number is expected"),
        ("alerts:\n  repeat_hours: 0", "2:17: alerts.repeat_hours: Input should be greater than or equal to 1"),
        ("alerts:\n  repeat_hours: 1.5", "2:17: alerts.repeat_hours: a whole number is expected"),
        (
            "alerts: {publication_stale_after: 1}",
            "1:10: alerts.publication_stale_after: there is no such key. Did you mean publication_stale_after_hours?",
        ),
        (
            "alerts: {url: 'https://hooks.slack.com/x'}",
            "1:10: alerts.url: there is no such key. Known: idle_usd_per_day, repeat_hours",
        ),
        (
            "sources:\n  a: {path: x, stale_after_hours: 0}",
            "2:35: sources.a.stale_after_hours: Input should be greater than or equal to 1",
        ),
        ("sources:\n  a: {path: x}\n  a: {path: y}", "3:3: not valid YAML: found duplicate key"),
        ("sources: {a: {path: x}", "not valid YAML"),
        (b"sources: \xff", "not UTF-8 text"),
    ],
)
def test_one_problem(tmp_path, text, expected):
    [line] = problems(tmp_path, text)
    assert expected in line
    assert line.startswith("pertask.yml:")


def test_a_mapping_is_checked_before_anything_is_read(tmp_path):
    text = "sources:\n  a: {path: x, format: mapping, mapping: absent.yml}\n"
    text += "  b: {path: x, format: mapping, mapping: wrong.yml}\n"
    (tmp_path / "wrong.yml").write_text("contract: tasks\nformat: csv\ncolumns:\n  task_idd: id\n")

    absent, wrong = problems(tmp_path, text)

    assert absent.startswith("pertask.yml:2:42: sources.a.mapping: there is no file")
    assert wrong.startswith("wrong.yml:4:3: ")
    assert "task_id" in wrong
    assert list(load_config(Home(tmp_path), with_mappings=False).sources) == ["a", "b"]


def test_the_token_convention_of_a_mapping_stands_in_the_mapping(tmp_path):
    text = "sources:\n  a: {path: x, format: mapping, mapping: m.yml, token_convention: {input_includes_cached: true}}"
    [line] = problems(tmp_path, text)
    assert line.startswith("pertask.yml:2:67: sources.a.token_convention: the token convention of a mapped source")


def test_the_examples_of_a_new_home_are_right_once_uncommented(tmp_path):
    home = write(tmp_path, CONFIGURATION)
    assert load_config(home) == Config()

    is_example = re.compile(r"^  # (?=( *\w+:)|  #)", re.MULTILINE)
    examples = is_example.sub("  ", CONFIGURATION.replace("# A name of your choice: ", "# A name of your choice, "))
    config = load_config(write(tmp_path, examples), with_mappings=False)

    names = ["gateway", "bot", "cloud_bill", "aws_bill", "other_gateway", "tracer", "telemetry"]
    assert list(config.sources) == names
    assert config.sources["aws_bill"].endpoint == "https://minio.internal:9000"
    assert config.sources["tracer"].precedence == 2
    assert config.sources["telemetry"].stale_after_hours == 36
    assert config.alerts == Alerts(idle_usd_per_day=500)
    assert config.sources["other_gateway"].token_convention.input_includes_cached is False


def test_sources_with_a_precedence_go_first_and_the_others_follow_in_the_order_of_the_file(tmp_path):
    home = write(
        tmp_path,
        "sources: {z: {path: x}, second: {path: x, precedence: 7}, a: {path: x}, first: {path: x, precedence: 1}, "
        "tie: {path: x, precedence: 7}}",
    )
    assert load_config(home).precedences() == {"first": 1, "second": 2, "tie": 3, "z": 4, "a": 5}
    assert Config().precedences() == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "Input should be greater than or equal to 1"),
        ("1.5", "a whole number is expected"),
        ("true", "a whole number is expected"),
        ("first", "a whole number is expected"),
    ],
)
def test_a_precedence_is_a_whole_number_from_1(tmp_path, value, expected):
    [line] = problems(tmp_path, f"sources:\n  a: {{path: x, precedence: {value}}}")
    assert line == f"pertask.yml:2:28: sources.a.precedence: {expected}"


def test_the_home_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERTASK_HOME", "some/home")
    assert Home.current().published_file == tmp_path / "some" / "home" / "published" / "pertask.duckdb"
    monkeypatch.delenv("PERTASK_HOME")
    assert Home.current().root == tmp_path
