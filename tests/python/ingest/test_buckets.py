"""Sources in buckets: what is mirrored, ingested, fetched again and held back, and what is said when it fails."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest import buckets
from ingest.buckets import Bucket, BucketError, fetch, listing
from ingest.lake import Lake
from ingest.runner import BatchResult, IngestRequest, find_deliveries, ingest
from tests.python.conftest import spend_log_row
from tests.python.ingest.formats.test_aws_cur import aws_line
from tests.python.ingest.helpers import assert_nowhere, bill_line, write_csv
from tests.python.object_store import KEY, SECRET, Store

EXPORT = "prefix/export"
MONTH = "BILLING_PERIOD=2026-08"


@pytest.fixture
def name(store: Store, request) -> str:
    """A new bucket of the test's own."""
    return store.make_bucket(f"b-{abs(hash(request.node.name)):x}")


def at(store: Store, tmp_path: Path, address: str, source: str = "aws", **changes: object) -> Bucket:
    options = {"endpoint": store.endpoint, "region": "us-east-1", **changes}
    return Bucket(source, address, tmp_path / "home" / "landing" / "_buckets", **options)


def request(bucket: Bucket, format_name: str = "auto") -> IngestRequest:
    return IngestRequest(bucket.source, bucket.path, format_name, bucket=bucket)


def bring(tmp_path: Path, *wanted: Bucket) -> list[BatchResult]:
    return ingest(tmp_path / "lake", [request(bucket) for bucket in wanted])


def csv_of(tmp_path: Path, *lines: dict) -> bytes:
    return write_csv(tmp_path / "made.csv", list(lines)).read_bytes()


def log_of(*ids: str) -> bytes:
    return "".join(json.dumps(spend_log_row(name)) + "\n" for name in ids).encode()


def put_export(store: Store, name: str, tmp_path: Path, parts: dict[str, str]) -> None:
    """An AWS export: its parts, by file name and the resource of their one line, and the manifest beside them."""
    for file, resource in parts.items():
        body = csv_of(tmp_path, aws_line(line_item_resource_id=resource))
        store.put(name, f"{EXPORT}/data/{MONTH}/{file}", body)
    files = [f"s3://{name}/{EXPORT}/data/{MONTH}/{file}" for file in parts]
    document = {"exportArn": "arn", "columns": [{"name": "line_item_unblended_cost"}], "dataFiles": files}
    store.put(name, f"{EXPORT}/metadata/{MONTH}/export-Manifest.json", json.dumps(document).encode())


def age(store: Store, monkeypatch, seconds: int) -> None:
    """Let the store's clock be ahead: its times are whole seconds, and a test is faster."""
    import moto.s3.models as models

    moment = datetime.now(UTC).replace(microsecond=0).timestamp() + seconds
    monkeypatch.setattr(models, "utcnow", lambda: datetime.fromtimestamp(moment, UTC).replace(tzinfo=None))


def files(bucket: Bucket) -> list[str]:
    """What the mirror holds, without the bucket's name."""
    root = bucket.mirror / bucket.name
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# A bill, end to end


def test_a_bill_comes_in_once_and_again_when_it_changed(store, name, tmp_path, lake_rows, monkeypatch):
    put_export(store, name, tmp_path, {"export-1.csv": "i-1", "export-2.csv": "i-2"})
    bucket = at(store, tmp_path, f"s3://{name}/{EXPORT}/")
    said: list[str] = []
    [first] = ingest(tmp_path / "lake", [request(bucket)], say=said.append)

    assert (first.state, first.format, first.rows_loaded) == ("committed", "aws_cur", 2)
    assert said == ["ingest: fetching 3 objects, 0.0 MB, of source aws"]
    assert lake_rows("bill_lines", "resource_id") == [("i-1",), ("i-2",)]
    [batch] = Lake(tmp_path / "lake").batches().values()
    assert batch.delivered_at == max(found.modified_at for found in listing(bucket))
    assert {file.name for file in batch.files} == {"export-1.csv", "export-2.csv", "export-Manifest.json"}

    store.requests.clear()
    [again] = ingest(tmp_path / "lake", [request(bucket)], say=said.append)
    assert again.state == "unchanged"
    assert (store.gets(), len(said)) == ([], 1)

    age(store, monkeypatch, 60)
    changed = csv_of(tmp_path, aws_line(line_item_resource_id="i-3"))
    store.put(name, f"{EXPORT}/data/{MONTH}/export-2.csv", changed)
    store.requests.clear()
    [newer] = bring(tmp_path, bucket)
    assert newer.state == "committed"
    assert store.gets() == [f"/{name}/{EXPORT}/data/{MONTH}/export-2.csv"]
    batches = sorted(Lake(tmp_path / "lake").batches().values(), key=lambda batch: batch.delivered_at)
    assert (batches[-1].batch_id, batches[-1].delivered_at > batch.delivered_at) == (newer.batch_id, True)


def test_a_part_that_cannot_be_fetched_holds_back_its_bill_alone(store, name, tmp_path, lake_rows):
    for month, resources in {"july": ("i-1", "i-2"), "august": ("i-3", "i-4")}.items():
        for number, resource in enumerate(resources, 1):
            store.put(name, f"bills/{month}/{number}.csv", csv_of(tmp_path, bill_line(ResourceId=resource)))
    store.put(name, "logs/a.jsonl", log_of("a"))
    store.put(name, "logs/b.jsonl", log_of("b"))
    store.refuse("*", "bills/august/2.csv", 403, "AccessDenied")
    store.refuse("*", "logs/b.jsonl", 403, "AccessDenied")
    bill, log = at(store, tmp_path, f"s3://{name}/bills/"), at(store, tmp_path, f"s3://{name}/logs/", "gateway")

    results = bring(tmp_path, bill, log)

    assert [result.state for result in results] == ["failed", "failed", "failed", "committed", "committed"]
    assert f"s3://{name}/bills/august/2.csv (source 'aws'): access to this object is denied." in results[0].message
    assert "held back: a part of it could not be fetched" in results[1].message
    assert results[2].message.startswith(f"s3://{name}/logs/b.jsonl (source 'gateway'): access to this object")
    assert lake_rows("bill_lines", "resource_id") == [("i-1",), ("i-2",)]
    assert lake_rows("llm_calls", "call_id") == [("a",)]

    store.faults.clear()
    assert {result.state for result in bring(tmp_path, bill, log)} == {"committed", "unchanged"}
    assert [row[0] for row in lake_rows("bill_lines", "resource_id")] == ["i-1", "i-2", "i-3", "i-4"]


def test_a_manifest_that_cannot_be_fetched_holds_back_its_parts(store, name, tmp_path, lake_rows):
    put_export(store, name, tmp_path, {"export-1.csv": "i-1"})
    store.refuse("*", "Manifest.json", 403, "AccessDenied")
    results = bring(tmp_path, at(store, tmp_path, f"s3://{name}/{EXPORT}/"))
    assert [result.state for result in results] == ["failed", "failed"]
    assert lake_rows("bill_lines") == []


def test_what_an_earlier_run_left_half_fetched_waits_for_the_rest(store, name, tmp_path, lake_rows):
    for number in (1, 2):
        store.put(name, f"bill/{number}.csv", csv_of(tmp_path, bill_line(ResourceId=f"i-{number}")))
    other = store.make_bucket(f"{name}-2")
    store.put(other, "logs/a.jsonl", log_of("a"))
    bill, log = at(store, tmp_path, f"s3://{name}/bill/"), at(store, tmp_path, f"s3://{other}/logs/", "gateway")
    fetch(bill)
    (bill.path / "2.csv").unlink()
    (bill.mirror / "_incoming").mkdir()
    (bill.mirror / "_incoming" / "half").write_bytes(b"Bill")

    store.refuse("GET", f"/{name}", 500, "InternalError")
    results = bring(tmp_path, bill, log)
    assert [(result.source, result.state) for result in results] == [("aws", "failed"), ("gateway", "committed")]
    assert f"could not answer, {buckets._TRIES} times (INTERNAL_FAILURE)" in results[0].message
    assert lake_rows("bill_lines") == []

    store.faults.clear()
    assert bring(tmp_path, bill)[0].rows_loaded == 2
    assert not (bill.mirror / "_incoming").exists()


def test_a_rewritten_folder_loses_its_old_parts_and_expiring_ones_stay(store, name, tmp_path, lake_rows, monkeypatch):
    age(store, monkeypatch, -600)
    for number in (1, 2, 3):
        store.put(name, f"bill/{number}.csv", csv_of(tmp_path, bill_line(ResourceId=f"i-{number}")))
    bucket = at(store, tmp_path, f"s3://{name}/bill")
    bring(tmp_path, bucket)

    store.delete(name, "bill/3.csv")
    assert bring(tmp_path, bucket)[0].state == "unchanged"
    assert files(bucket) == ["bill/1.csv", "bill/2.csv", "bill/3.csv"]

    age(store, monkeypatch, -300)
    store.put(name, "bill/1.csv", csv_of(tmp_path, bill_line(ResourceId="i-4")))
    [rewritten] = bring(tmp_path, bucket)
    assert (rewritten.state, rewritten.rows_loaded) == ("committed", 2)
    assert files(bucket) == ["bill/1.csv", "bill/2.csv"]

    store.delete(name, "bill/1.csv")
    store.delete(name, "bill/2.csv")
    assert bring(tmp_path, bucket) == []
    assert files(bucket) == []
    assert len(lake_rows("bill_lines")) == 5


# What is listed and mirrored


def test_a_listing_tells_what_is_new_without_fetching(store, name, tmp_path):
    store.put(name, "logs/b.jsonl", b"12345")
    bucket = at(store, tmp_path, f"s3://{name}/logs/")
    [before] = listing(bucket)
    assert (before.key, before.size) == ("logs/b.jsonl", 5)
    assert abs((before.modified_at - datetime.now(UTC)).total_seconds()) < 600

    store.put(name, "logs/a.jsonl", b"1")
    assert [found.key for found in listing(bucket)] == ["logs/a.jsonl", "logs/b.jsonl"]
    assert (store.gets(), bucket.mirrors.exists()) == ([], False)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", ["logs/2026/08/b.jsonl", "logs/2026/c.csv", "logs/a.jsonl", "other/d.jsonl"]),
        ("logs", ["logs/2026/08/b.jsonl", "logs/2026/c.csv", "logs/a.jsonl"]),
        ("logs/2026/", ["logs/2026/08/b.jsonl", "logs/2026/c.csv"]),
        ("logs/a.jsonl", ["logs/a.jsonl"]),
        ("logs/_made/e.jsonl", ["logs/_made/e.jsonl"]),
        ("*/*.jsonl", ["logs/a.jsonl", "other/d.jsonl"]),
        ("logs/*.jsonl", ["logs/a.jsonl"]),
        ("logs/**/*.jsonl", ["logs/2026/08/b.jsonl", "logs/_made/e.jsonl", "logs/a.jsonl"]),
        ("logs/20[0-9]?/**", ["logs/2026/08/b.jsonl", "logs/2026/c.csv"]),
        ("nothing/here/", []),
        ("nothing.jsonl", []),
        ("nothing/*.jsonl", []),
    ],
)
def test_a_path_may_be_a_bucket_a_folder_an_object_or_a_glob(store, name, tmp_path, key, expected):
    for other in ("a.jsonl", "2026/08/b.jsonl", "2026/c.csv", "_made/e.jsonl", ".hidden"):
        store.put(name, f"logs/{other}", b"x")
    store.put(name, "other/d.jsonl", b"x")
    store.put(name, "logs/2026/", b"")
    bucket = at(store, tmp_path, f"s3://{name}/{key}")
    assert fetch(bucket) == []
    assert files(bucket) == expected
    assert [found.key for found in listing(bucket)] == expected


def test_a_bucket_that_holds_nothing_yet_is_no_failure(store, name, tmp_path):
    assert bring(tmp_path, at(store, tmp_path, f"s3://{name}"), at(store, tmp_path, f"s3://{name}/x/", "other")) == []


def test_keys_that_no_file_can_have_are_told_and_leave_the_mirror_alone(store, name, tmp_path):
    odd = ["../evil", "logs/../../../evil", "/abs/x", "logs//double", "logs/./dot", "logs/..", "logs/back\\slash"]
    odd += ["logs/" + "n" * 300, "logs/both"]
    good = ["logs/both/file.jsonl", "logs/ü ñ?#%41 [1].jsonl", "logs/" + "n" * 255, "logs/..two", "logs/a/" * 100 + "z"]
    for key in (*odd, *good):
        store.put(name, key, key.encode())
    bucket = at(store, tmp_path, f"s3://{name}", "../so\\urce/..")
    problems = fetch(bucket)

    assert sorted(problem.address for problem in problems) == sorted(f"s3://{name}/{key}" for key in odd)
    assert all("cannot be kept as a file: " in problem.message for problem in problems)
    # A name that starts with a dot is passed over, as in a local folder.
    assert files(bucket) == sorted(key for key in good if key != "logs/..two")
    root = bucket.mirror / name
    assert all((root / key).read_bytes() == key.encode() for key in files(bucket))
    assert bucket.mirror.parent == bucket.mirrors
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and root not in path.parents]
    assert outside == [bucket.mirror / "_lock"]
    assert all(problem.path.is_relative_to(root) and ".." not in problem.path.parts for problem in problems)


def test_an_object_that_no_file_can_be_holds_back_the_bill_beside_it(store, name, tmp_path, lake_rows):
    store.put(name, "bill/1.csv", csv_of(tmp_path, bill_line()))
    store.put(name, "bill/back\\slash.csv", csv_of(tmp_path, bill_line()))
    results = bring(tmp_path, at(store, tmp_path, f"s3://{name}/bill/"))
    assert [result.state for result in results] == ["failed", "failed"]
    assert lake_rows("bill_lines") == []


def test_a_file_makes_way_for_a_folder_and_back(store, name, tmp_path):
    bucket = at(store, tmp_path, f"s3://{name}")
    store.put(name, "a/x", b"1")
    store.put(name, "a/y", b"1")
    fetch(bucket)
    store.delete(name, "a/x")
    store.put(name, "a/x/z", b"1")
    assert (fetch(bucket), files(bucket)) == ([], ["a/x/z", "a/y"])
    store.delete(name, "a/x/z")
    store.put(name, "a/x", b"1")
    assert (fetch(bucket), files(bucket)) == ([], ["a/x", "a/y"])


def test_another_bucket_of_the_same_source_takes_the_place_of_the_first(store, name, tmp_path):
    other = store.make_bucket(f"{name}-2")
    store.put(name, "logs/a.jsonl", log_of("a"))
    store.put(other, "logs/b.jsonl", log_of("b"))
    bring(tmp_path, at(store, tmp_path, f"s3://{name}/logs"))
    moved = at(store, tmp_path, f"s3://{other}/logs")
    bring(tmp_path, moved)
    assert [path.name for path in moved.mirror.rglob("*.jsonl")] == ["b.jsonl"]


def test_a_log_in_a_mirror_is_read_like_any_file(store, name, tmp_path, lake_rows):
    store.put(name, "logs/day=1/a.jsonl", log_of("a"))
    store.put(name, "logs/day=2/b.jsonl", log_of("b", "c"))
    results = bring(tmp_path, at(store, tmp_path, f"s3://{name}/logs/**/*.jsonl", "gateway"))
    assert [result.rows_loaded for result in results] == [1, 2]
    assert lake_rows("llm_calls", "source, call_id") == [("gateway", "a"), ("gateway", "b"), ("gateway", "c")]


def test_a_source_of_all_of_landing_passes_over_the_mirrors(store, name, tmp_path):
    store.put(name, "logs/a.jsonl", log_of("a"))
    bucket = at(store, tmp_path, f"s3://{name}")
    fetch(bucket)
    landing = bucket.mirrors.parent
    (landing / "b.jsonl").write_bytes(log_of("b"))
    assert [path.name for found in find_deliveries(IngestRequest("all", landing)) for path in found.paths] == [
        "b.jsonl"
    ]


def test_two_that_fetch_a_source_at_once_fetch_each_object_once(store, name, tmp_path):
    keys = [f"logs/{number}" for number in range(20)]
    for key in keys:
        store.put(name, key, b"1")
    bucket = at(store, tmp_path, f"s3://{name}/logs/")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch, [bucket, bucket])) == [[], []]
    assert sorted(store.gets()) == sorted(f"/{name}/{key}" for key in keys)


# What may go wrong on the way


def test_a_passing_trouble_is_tried_again(store, name, tmp_path):
    store.put(name, "logs/a.jsonl", b"whole")
    store.refuse("GET", f"/{name}", 503, "SlowDown", times=1)
    store.refuse("HEAD", "a.jsonl", 500, "InternalError", times=1)
    store.refuse("GET", "a.jsonl", 503, "ServiceUnavailable", times=1)
    bucket = at(store, tmp_path, f"s3://{name}/logs/")
    assert fetch(bucket) == []
    assert (bucket.path / "a.jsonl").read_bytes() == b"whole"


def test_versions_of_an_object_are_not_joined(store, name, tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "_CHUNK_BYTES", 4)
    store.put(name, "logs/a", b"old old ")

    def rewrite(method: str, path: str) -> None:
        if len(store.gets()) == 2:
            store.put(name, "logs/a", b"new new ")

    store.before_answer = rewrite
    bucket = at(store, tmp_path, f"s3://{name}/logs/")
    assert fetch(bucket) == []
    assert (bucket.path / "a").read_bytes() == b"new new "

    count = iter(range(1000))
    store.before_answer = lambda method, path: store.put(name, "logs/b", f"{next(count):08}".encode())
    [problem] = [problem for problem in fetch(bucket) if problem.path.name == "b"]
    assert "it was written to while it was fetched" in problem.message
    assert files(bucket) == ["logs/a"]


def test_an_object_that_vanishes_after_the_listing_is_told(store, name, tmp_path):
    store.put(name, "logs/a", b"1")
    store.put(name, "logs/b", b"1")
    store.before_answer = lambda method, path: store.delete(name, "logs/b") if path.count("/") > 1 else None
    bucket = at(store, tmp_path, f"s3://{name}/logs/")
    store.refuse("HEAD", "logs/b", 404, "NoSuchKey")
    [problem] = fetch(bucket)
    assert problem.message.startswith(f"s3://{name}/logs/b (source 'aws'): it was listed, but is gone now.")
    assert files(bucket) == ["logs/a"]


def test_an_archived_object_is_told(store, name, tmp_path):
    store.put(name, "logs/long", b"1" * 5000)
    store.put(name, "logs/short", b"1")
    store.put(name, "logs/there", b"1")
    store.refuse("GET", "logs/long", 403, "InvalidObjectState")
    store.refuse("GET", "logs/short", 403, "InvalidObjectState")
    bucket = at(store, tmp_path, f"s3://{name}/logs/")
    problems = fetch(bucket)
    assert [problem.path.name for problem in problems] == ["long", "short"]
    assert all(problem.message.endswith("; restore it if it is archived.") for problem in problems)
    assert files(bucket) == ["logs/there"]


def message(bucket: Bucket) -> str:
    with pytest.raises(BucketError) as caught:
        listing(bucket)
    assert caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "InvalidAccessKeyId", "does not accept the credentials (INVALID_ACCESS_KEY_ID). Check AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "does not accept the credentials (SIGNATURE_DOES_NOT_MATCH)"),
        (400, "ExpiredToken", "AWS_SESSION_TOKEN in the environment."),
        (403, "AccessDenied", "is denied. Allow s3:ListBucket on it and s3:GetObject on its objects."),
        (403, "RequestTimeTooSkewed", "Set the clock."),
        (400, "SomethingNew", "refuses to be read (SomethingNew)."),
        (502, "BadGateway", "could not answer, 4 times"),
    ],
)
def test_a_refusal_says_what_to_do_and_never_a_secret(store, name, tmp_path, status, code, expected, capfd, caplog):
    store.refuse("*", f"/{name}", status, code)
    bucket = at(store, tmp_path, f"s3://{name}")
    text = message(bucket)
    assert text.startswith(f"s3://{name} (source 'aws'): ")
    assert expected in text
    assert "not set" not in text

    [result] = bring(tmp_path, bucket)
    assert (result.state, result.message) == ("failed", text)
    shown = capfd.readouterr()
    for secret in (SECRET, KEY):
        assert secret not in text + shown.out + shown.err + caplog.text + repr(bucket)
        assert_nowhere(tmp_path, secret)


def test_an_object_that_is_refused_never_shows_a_secret(store, name, tmp_path):
    store.put(name, "a", b"1" * 5000)
    store.refuse("GET", "/a", 403, "AccessDenied")
    [problem] = fetch(at(store, tmp_path, f"s3://{name}"))
    assert "Allow s3:GetObject on it" in problem.message
    assert SECRET not in problem.message and KEY not in problem.message


def test_credentials_that_end_while_objects_are_fetched_fail_the_source(store, name, tmp_path):
    for number in range(30):
        store.put(name, f"logs/{number}.jsonl", log_of(str(number)))
    store.refuse("HEAD", ".jsonl", 400, "ExpiredToken")
    [result] = bring(tmp_path, at(store, tmp_path, f"s3://{name}/logs/"))
    assert (result.state, result.name) == ("failed", f"s3://{name}/logs/")


def test_no_credentials_are_told(store, name, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    store.refuse("*", f"/{name}", 403, "AccessDenied")
    text = message(at(store, tmp_path, f"s3://{name}"))
    assert text.endswith("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set in this environment.")


def test_a_missing_bucket_is_told(store, tmp_path):
    text = message(at(store, tmp_path, "s3://no-such-bucket/x/"))
    assert f"there is no bucket 'no-such-bucket' at the endpoint {store.endpoint}. Check path and endpoint" in text


def test_an_endpoint_that_cannot_be_reached_is_told(store, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        text = message(at(store, tmp_path, "s3://bucket", endpoint=endpoint))
    assert f"the endpoint {endpoint} cannot be reached (Could not connect to server). Check endpoint" in text


@pytest.mark.parametrize(("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")])
def test_the_region_that_the_store_names_is_passed_on(store, name, tmp_path, status, code):
    store.refuse("*", "", status, code, headers={"x-amz-bucket-region": "eu-west-1"})
    text = message(at(store, tmp_path, f"s3://{name}"))
    assert text.endswith("but in eu-west-1. Set `region: eu-west-1` for the source in pertask.yml.")


def test_a_region_that_no_store_names_is_asked_for(store, name, tmp_path):
    store.refuse("*", "", 301, "PermanentRedirect")
    assert "Set `region: <region of the bucket>`" in message(at(store, tmp_path, f"s3://{name}"))


def test_a_mirror_that_cannot_be_written_is_told(store, name, tmp_path):
    store.put(name, "a", b"1")
    bucket = at(store, tmp_path, f"s3://{name}", "n" * 300)
    [result] = bring(tmp_path, bucket)
    assert "cannot be written (File name too long)" in result.message
