"""OpenAI's usage reports: what their counts contain, and every shape in which pages are saved."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.runner import IngestRequest, ingest
from tests.python.ingest.helpers import MARKER, assert_nowhere, bring, write_lines

DAY = 86_400
START = 1_785_542_400
"""2026-08-01, midnight UTC."""

INPUT = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens"
READ_AND_WRITTEN = {"input_cached_tokens": 300, "input_cache_write_tokens": 200}
QUARANTINE = "line_number, column_name, reason"


def usage(endpoint: str = "completions", **changes: object) -> dict:
    """A result of a usage endpoint, as an ungrouped report has it."""
    return {
        "object": f"organization.usage.{endpoint}.result",
        "input_tokens": 1000,
        "output_tokens": 100,
        "num_model_requests": 4,
        "project_id": None,
        "user_id": None,
        "api_key_id": None,
        "model": None,
        "batch": None,
        **changes,
    }


def bucket(*results: dict, start: object = START, end: object = START + DAY) -> dict:
    """A time bucket of a report."""
    return {"object": "bucket", "start_time": start, "end_time": end, "results": list(results)}


def page(*buckets: dict, has_more: bool = False) -> dict:
    """A page of a report."""
    return {"object": "page", "data": list(buckets), "has_more": has_more, "next_page": "p2" if has_more else None}


def write_json(path: Path, document: object, indent: int | None = 2) -> Path:
    """Write one JSON document; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=indent), encoding="utf-8")
    return path


@pytest.fixture
def one_result(tmp_path, lake_rows):
    """Ingest one result and return the named columns of its row."""

    def columns(names: str, endpoint: str = "completions", **changes: object) -> tuple:
        result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage(endpoint, **changes)))))
        assert result.format == "openai_usage"
        assert result.rows_loaded == 1, lake_rows("quarantined_rows", "column_name, reason")
        return lake_rows("vendor_usage", names)[0]

    return columns


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (1000, None, None, None)),
        ({"input_cached_tokens": 300}, (700, 300, None, None)),
        # newer reports: tokens written to the cache are in the input as well
        (READ_AND_WRITTEN, (500, 300, 200, None)),
        ({"input_cache_write_tokens": 200, "input_cache_write_12h_tokens": 100}, (700, None, 200, 100)),
        # the vendor's own rest says the same once more, with or without what was written
        ({**READ_AND_WRITTEN, "input_uncached_tokens": 500}, (500, 300, 200, None)),
        ({**READ_AND_WRITTEN, "input_uncached_tokens": 700}, (500, 300, 200, None)),
        ({"input_cached_tokens": 0}, (1000, 0, None, None)),
    ],
)
def test_the_input_includes_what_the_cache_read_and_wrote(one_result, changes, expected):
    assert one_result(INPUT, **changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # modalities are without cached tokens: 200 + 400 + 100 = 1000 - 300
        (
            {"input_text_tokens": 200, "input_audio_tokens": 400, "input_image_tokens": 100},
            (200, 300, 400, 100),
        ),
        # as older descriptions say: with cached tokens, 250 + 550 + 200 = 1000
        (
            {
                "input_text_tokens": 250,
                "input_audio_tokens": 550,
                "input_image_tokens": 200,
                "input_cached_text_tokens": 50,
                "input_cached_audio_tokens": 150,
                "input_cached_image_tokens": 100,
            },
            (200, 300, 400, 100),
        ),
        # an older report has audio only
        ({"input_audio_tokens": 400}, (300, 300, 400, None)),
    ],
)
def test_audio_and_images_are_parts_of_the_input(one_result, changes, expected):
    names = "uncached_input_tokens, cache_read_tokens, audio_input_tokens, image_input_tokens"
    assert one_result(names, input_cached_tokens=300, **changes) == expected


def test_audio_and_images_are_parts_of_the_output(one_result):
    changes = {"output_audio_tokens": 20, "output_image_tokens": 30, "output_text_tokens": 50}
    names = "output_text_tokens, audio_output_tokens, image_output_tokens, reasoning_tokens"
    assert one_result(names, **changes) == (50, 20, 30, None)


def test_a_bucket_is_in_unix_seconds(one_result):
    found = one_result("started_at, ended_at, provider, request_count")
    assert found == (datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 8, 2, tzinfo=UTC), "openai", 4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (None, None, None)),
        ({"model": "gpt-5", "project_id": "proj_1", "batch": True}, ("gpt-5", "batch", "proj_1")),
        ({"model": "gpt-5", "batch": False, "service_tier": "priority"}, ("gpt-5", "priority", None)),
        ({"batch": True, "service_tier": "default"}, (None, "batch", None)),
    ],
)
def test_dimensions_are_null_where_the_report_is_not_grouped(one_result, changes, expected):
    assert one_result("model, service_tier, project_id", **changes) == expected


@pytest.mark.parametrize(
    ("endpoint", "changes", "names", "expected"),
    [
        ("embeddings", {"output_tokens": None}, "uncached_input_tokens, output_text_tokens", (1000, None)),
        ("moderations", {"output_tokens": None}, "uncached_input_tokens, request_count", (1000, 4)),
        ("images", {"images": 12, "input_tokens": None}, "image_count, uncached_input_tokens", (12, None)),
        ("audio_speeches", {"characters": 4500, "input_tokens": None}, "character_count", (4500,)),
        ("audio_transcriptions", {"seconds": 90, "input_tokens": None}, "audio_seconds, character_count", (90, None)),
        (
            "web_search_calls",
            {"num_requests": 7, "num_model_requests": 5, "input_tokens": None},
            "web_search_count, request_count",
            (7, 5),
        ),
    ],
)
def test_each_endpoint_has_its_unit(one_result, endpoint, changes, names, expected):
    assert one_result(names, endpoint, **changes) == expected


def test_what_is_no_call_of_a_model_is_skipped_and_counted(tmp_path, lake_rows):
    results = [
        {"object": "organization.usage.vector_stores.result", "usage_bytes": 1 << 30, "project_id": None},
        {"object": "organization.usage.code_interpreter_sessions.result", "num_sessions": 3, "project_id": None},
        {"object": "organization.usage.file_search_calls.result", "num_requests": 3},
        usage(),
    ]
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(*results))))

    assert (result.rows_read, result.rows_loaded, result.rows_skipped) == (4, 1, 3)
    assert lake_rows("vendor_usage", "uncached_input_tokens") == [(1000,)]


def test_an_empty_bucket_gives_no_row(tmp_path, lake_rows):
    pages = page(bucket(), bucket(usage(), start=START + DAY, end=START + 2 * DAY), bucket())
    result = bring(tmp_path, write_json(tmp_path / "usage.json", pages))

    assert (result.rows_read, result.rows_loaded) == (1, 1)
    assert lake_rows("vendor_usage", "started_at") == [(datetime(2026, 8, 2, tzinfo=UTC),)]


def test_a_report_without_any_result(tmp_path):
    path = write_json(tmp_path / "usage.json", page(bucket(), bucket()))
    result = bring(tmp_path, path, "openai_usage")

    assert (result.state, result.rows_read) == ("committed", 0)


def shapes(folder: Path) -> dict[str, Path]:
    """The same two pages, saved in every way."""
    buckets = [
        bucket(usage(model="gpt-5", input_cached_tokens=400)),
        bucket(usage(model="gpt-5-mini"), usage(model="o3"), start=START + DAY, end=START + 2 * DAY),
    ]
    pages = [page(buckets[0], has_more=True), page(buckets[1])]
    packed = folder / "packed.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(pages).encode()))
    return {
        "list of pages": write_json(folder / "list.json", pages),
        "page a line": write_lines(folder / "lines.jsonl", [json.dumps(one) for one in pages]),
        "one page": write_json(folder / "page.json", page(*buckets)),
        "one page on one line": write_json(folder / "short.json", page(*buckets), indent=None),
        "list of buckets": write_json(folder / "buckets.json", buckets),
        "bucket a line": write_lines(folder / "buckets.jsonl", [json.dumps(one) for one in buckets]),
        "packed": packed,
        # the written specification calls the list otherwise
        "result": write_lines(folder / "named.json", [json.dumps(pages).replace('"results"', '"result"')]),
    }


@pytest.mark.parametrize(
    "shape",
    [
        "list of pages",
        "page a line",
        "one page",
        "one page on one line",
        "list of buckets",
        "bucket a line",
        "packed",
        "result",
    ],
)
def test_pages_in_every_shape(tmp_path, lake_rows, shape):
    result = bring(tmp_path, shapes(tmp_path)[shape])

    assert (result.format, result.rows_loaded, result.rows_quarantined) == ("openai_usage", 3, 0)
    assert result.message == ""
    assert lake_rows("vendor_usage", "model, uncached_input_tokens, cache_read_tokens") == [
        ("gpt-5", 600, 400),
        ("gpt-5-mini", 1000, None),
        ("o3", 1000, None),
    ]


def test_a_last_page_that_says_that_more_follow(tmp_path):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", [page(bucket(usage())), page(has_more=True)]))

    assert result.rows_loaded == 1
    assert result.message.startswith("usage.json: the last page says that more follow (has_more)")


def test_the_same_result_has_the_same_id_in_every_file_and_twins_survive(tmp_path, lake_rows):
    twins = page(bucket(usage(), usage()))
    bring(tmp_path, write_json(tmp_path / "a.json", twins))
    bring(tmp_path, write_lines(tmp_path / "b.jsonl", [json.dumps(twins)]))
    bring(tmp_path, write_json(tmp_path / "c.json", page(bucket(usage(), start=START - DAY, end=START))))

    ids = [line_id for (line_id,) in lake_rows("vendor_usage", "line_id")]
    assert len(ids) == 5
    # twice two twins of one day, and the same counts of another day
    assert sorted(ids.count(line_id) for line_id in set(ids)) == [1, 2, 2]


def test_an_id_does_not_depend_on_the_order_of_results(tmp_path, lake_rows):
    results = [usage(model="a"), usage(model="b")]
    bring(tmp_path, write_json(tmp_path / "a.json", page(bucket(*results))))
    bring(tmp_path, write_json(tmp_path / "b.json", page(bucket(*reversed(results)))))

    [first, *again] = lake_rows("vendor_usage", "model, line_id")
    assert again[0] == first
    assert lake_rows("vendor_usage", "count(distinct line_id), count(distinct (model, line_id))") == [(2, 2)]


@pytest.mark.parametrize(
    ("wrong", "column", "reason"),
    [
        (usage(input_tokens=-1), "input_tokens", "negative"),
        (usage(input_tokens=1.5), "input_tokens", "not a whole number"),
        (usage(input_tokens="many"), "input_tokens", "not a whole number"),
        (usage(input_cached_tokens=1001), "cache_read_tokens", "cached above input"),
        (
            usage(input_cached_tokens=600, input_audio_tokens=500),
            "input_tokens",
            "parts add up to more than the whole",
        ),
        (usage(input_uncached_tokens=999), "input_tokens", "does not add up with input_uncached_tokens"),
        (usage(num_model_requests=-2), "request_count", "negative"),
        (usage(input_tokens=10**30), "input_tokens", "not a whole number"),
        ({"object": "organization.costs.result", "amount": {"value": 1}}, None, "not a result of the usage report"),
        ("text", None, "not a result of a report"),
        (None, None, "not a result of a report"),
    ],
)
def test_a_wrong_result_costs_itself_only(tmp_path, lake_rows, wrong, column, reason):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage(), wrong, usage(model="o3")))))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (3, 2, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


@pytest.mark.parametrize(
    ("times", "column", "reason"),
    [
        ({"start": None}, "started_at", "missing"),
        ({"start": START * 1000}, "started_at", "not a time"),
        ({"start": 10**30}, "started_at", "not a time"),
        ({"start": "soon"}, "started_at", "not a time"),
        ({"end": START - 1}, "ended_at", "before started_at"),
    ],
)
def test_a_wrong_time_costs_its_bucket_only(tmp_path, lake_rows, times, column, reason):
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage()), bucket(usage(), **times))))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (2, 1, 1)
    assert lake_rows("quarantined_rows", QUARANTINE) == [(2, column, reason)]


def test_broken_lines_and_records_that_are_no_pages(tmp_path, lake_rows):
    good = json.dumps(page(bucket(usage())))
    lines = [
        good,
        good[:80],
        json.dumps({"error": {"message": MARKER, "code": "invalid_api_key"}}),
        "",
        json.dumps({"object": "page", "data": [{"object": "bucket", "start_time": START, "end_time": START + DAY}]}),
        "[1]",
        json.dumps(page(bucket(usage(model="o3")))),
    ]
    result = bring(tmp_path, write_lines(tmp_path / "usage.jsonl", lines))

    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (6, 2, 4)
    lengths = dict(lake_rows("quarantined_rows", "line_number, row_length"))
    assert (lengths[2], lengths[3], lengths[5] > 0) == (80, len(lines[2]), True)
    assert lake_rows("quarantined_rows", QUARANTINE) == [
        (2, None, "not valid JSON"),
        (3, None, "not a page of a report"),
        (5, None, "a bucket without results"),
        (6, None, "not a JSON object"),
    ]
    assert_nowhere(tmp_path / "lake")


def test_half_a_document_is_one_quarantined_row(tmp_path, lake_rows):
    text = json.dumps(page(bucket(usage(user_id=MARKER))), indent=2)
    result = bring(tmp_path, write_lines(tmp_path / "usage.json", [text[:-20]]))

    assert (result.state, result.rows_read, result.rows_quarantined) == ("committed", 1, 1)
    [(reason, length)] = lake_rows("quarantined_rows", "reason, row_length")
    assert (reason, length) == ("not valid JSON", len(text) - 19)
    assert_nowhere(tmp_path / "lake")


def test_ids_of_keys_and_users_are_never_stored(tmp_path):
    secrets = {"api_key_id": MARKER, "user_id": MARKER, "user_email": MARKER, "somebody_elses_key": {"x": MARKER}}
    wrong = usage(input_tokens=MARKER, **secrets)
    result = bring(tmp_path, write_json(tmp_path / "usage.json", page(bucket(usage(**secrets), wrong))))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert_nowhere(tmp_path / "lake")


def test_a_long_document_is_told_by_its_text(tmp_path, lake_rows):
    results = [usage(model=f"model-{number}") for number in range(3000)]
    path = write_json(tmp_path / "usage.json", page(bucket(*results)), indent=None)
    assert path.stat().st_size > 1 << 19
    result = bring(tmp_path, path)

    assert (result.format, result.rows_loaded) == ("openai_usage", 3000)
    assert lake_rows("vendor_usage", "count(distinct line_id)") == [(3000,)]


def test_several_reports_read_together_keep_their_own_results(tmp_path, lake_rows):
    for number in range(3):
        write_json(tmp_path / "in" / f"{number}.json", page(bucket(usage(model=f"m{number}")), has_more=number == 1))
    results = ingest(tmp_path / "lake", [IngestRequest("openai", tmp_path / "in")])

    assert [(result.format, result.rows_loaded) for result in results] == [("openai_usage", 1)] * 3
    assert [bool(result.message) for result in results] == [False, True, False]
    assert lake_rows("vendor_usage", "model, source") == [("m0", "openai"), ("m1", "openai"), ("m2", "openai")]
