"""The data dictionary: what it shows, what it must not tell, when it is made again, and whom it waits for."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration.lib import builds
from pertask.home import Home
from publish import data_dictionary
from publish.data_dictionary import write_docs
from publish.publication import PublishError

CANARY = "canary-5c3f"


def make_home(root: Path) -> Home:
    """A home with a manifest as a build leaves it, and one published mart."""
    home = Home(root)
    with pytest.MonkeyPatch.context() as patch:
        # what parsing for a home sets in this process ends with it
        for name in builds.environment(home):
            patch.setenv(name, os.environ.get(name, ""))
        manifest_path = builds.manifest(home)
    manifest = json.loads(manifest_path.read_bytes())
    manifest["metadata"]["env"] = {"X": CANARY}
    manifest["metadata"]["user_id"] = CANARY
    node = manifest["nodes"]["model.pertask.stg_llm_calls"]
    node["compiled_code"] = f"select * from read_parquet('{home.lake}/llm_calls/x.parquet')"
    node["compiled_path"] = f"{home.target}/compiled/stg_llm_calls.sql"
    manifest_path.write_text(json.dumps(manifest), encoding="utf-8")
    home.published.mkdir()
    with duckdb.connect(str(home.published_file)) as connection:
        connection.execute(
            "create schema core; create table core.fct_tasks (task_id varchar, cost_usd decimal(38, 12))"
        )
    return home


def make_page(home: Home) -> Path:
    return write_docs(home, builds.PROJECT, builds.manifest(home), builds.environment(home))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("dictionary") / "home-of-acme")


@pytest.fixture(scope="module")
def page(home: Home) -> str:
    """The page, made while a build holds the warehouse and a reader the publication."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as held:
        patch.setenv("DBT_ENV_CUSTOM_ENV_X", CANARY)
        patch.setenv("DBT_TARGET", "no-such-target")
        patch.setenv("GATEWAY_API_KEY", CANARY)
        held.enter_context(duckdb.connect(str(home.warehouse_file)))
        held.enter_context(duckdb.connect(str(home.published_file), read_only=True))
        path = make_page(home)
    assert path == home.published / "docs" / "index.html"
    return path.read_text(encoding="utf-8")


def test_the_page_has_models_columns_metrics_and_types(page: str) -> None:
    for name in ("model.pertask.fct_tasks", "model.pertask.stg_llm_calls", "metric.pertask.cost_per_task"):
        assert f'"{name}"' in page
    assert "Sum of the cost of its priced attempts in USD" in page
    # from the published file
    assert '"type": "DECIMAL(38,12)"' in page
    # the SQL as it is written
    assert "{{ config(" in page


def test_the_page_begins_with_what_pertask_is(page: str) -> None:
    assert '"doc.pertask.__overview__"' in page
    for name in ("docs/cookbook.md", "`unit_economics`", "`quality`"):
        assert name in page


def test_markdown_does_not_eat_a_word_between_underscores(home: Home) -> None:
    """The page shows descriptions as Markdown, in which ``__untagged__`` is the bold word untagged."""
    shown = json.loads((home.target / "manifest.json").read_bytes())
    texts = []
    for node in shown["nodes"].values():
        texts += [node["description"], *(column["description"] for column in node["columns"].values())]
    assert any("`__untagged__`" in text for text in texts)
    assert [text for text in texts if re.search(r"(?<![`\w])__[a-z]+__(?![`\w])", text)] == []


def test_the_page_stands_alone(page: str) -> None:
    assert "INLINE DATA" not in page
    assert re.findall(r"<(?:script|link)[^>]+(?:src|href)=[\"']?https?:", page) == []
    # dbt's page calls home unless the manifest says no
    assert re.findall(r'"send_anonymous_usage_stats": (\w+)', page) == ["false"]


def test_the_page_tells_nothing_of_the_place_where_it_was_made(page: str, home: Home) -> None:
    for secret in (CANARY, str(home.root), home.root.name, str(builds.PROJECT), '"compiled_code": "'):
        assert secret not in page, secret


def test_a_page_of_the_same_models_stays(page: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home.published / "docs" / "index.html"
    before = path.stat()
    make_page(home)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    monkeypatch.setattr(data_dictionary, "_digest", lambda project: "other models")
    make_page(home)
    assert path.stat().st_ino != before.st_ino
    assert path.read_text(encoding="utf-8").endswith("<!-- other models -->")
    assert [found.name for found in path.parent.iterdir()] == ["index.html"]
    assert list(home.spill.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("models/marts/one.sql", lambda path: path.write_text("select 2", encoding="utf-8")),
        ("models/semantic/metric.yml", lambda path: path.write_text("metrics: []", encoding="utf-8")),
        ("models/marts/one.sql", lambda path: path.rename(path.parents[1] / "one.sql")),
        ("seeds/book.yml", lambda path: path.unlink()),
    ],
    ids=["edited model", "new metric", "moved model", "seed gone"],
)
def test_what_the_page_shows_decides_whether_it_is_made(
    tmp_path: Path, path: str, change: Callable[[Path], object]
) -> None:
    for folder in ("models/marts", "models/semantic", "seeds"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "models" / "marts" / "one.sql").write_text("select 1", encoding="utf-8")
    (tmp_path / "seeds" / "book.yml").write_text("seeds: []", encoding="utf-8")
    (tmp_path / "seeds" / "book.csv").write_text("model", encoding="utf-8")
    before = data_dictionary._digest(tmp_path)
    (tmp_path / "seeds" / "book.csv").write_text("model\nanother row", encoding="utf-8")
    assert data_dictionary._digest(tmp_path) == before
    change(tmp_path / path)
    assert data_dictionary._digest(tmp_path) != before


def test_a_page_that_cannot_be_made_leaves_the_last_one(
    page: str, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.published / "docs" / "index.html"
    before = path.read_bytes()
    monkeypatch.setattr(data_dictionary, "_digest", lambda project: "newer models")
    # dbt finds no profile there
    monkeypatch.setattr(data_dictionary, "_PROFILES", tmp_path)
    with pytest.raises(PublishError, match="dbt could not document the models"):
        make_page(home)
    assert path.read_bytes() == before
    assert list(home.spill.iterdir()) == []


def test_without_a_publication_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"nothing is published yet\. Run `pertask run` first\."):
        write_docs(Home(tmp_path), builds.PROJECT, tmp_path / "manifest.json", {})
    assert list(tmp_path.iterdir()) == []
