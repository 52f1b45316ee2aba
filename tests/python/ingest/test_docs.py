"""docs/add-a-format.md: every example in it works, and its reference is complete."""

from __future__ import annotations

import re
import sys
import types
from itertools import pairwise
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ingest import formats, mapping
from ingest.contracts import CONTRACTS
from ingest.mapping import load_mapping
from pertask.config import load_config
from pertask.home import Home
from tests.python.ingest.helpers import bring, write_lines

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "add-a-format.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
README_BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```$", (DOCS.parent / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
MAPPINGS = [
    text for kind, text in BLOCKS + README_BLOCKS if kind == "yaml" and re.search("^contract:", text, re.MULTILINE)
]
SOURCES = [text for kind, text in BLOCKS if kind == "yaml" and text.startswith("sources:")]
# An input file stands right before the mapping that reads it.
EXAMPLES = [
    (example, text)
    for (kind, example), (next_kind, text) in pairwise(BLOCKS)
    if kind in ("json", "csv") and next_kind == "yaml"
]


def write_mapping(folder: Path, text: str) -> Path:
    path = folder / "mapping.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_page_has_its_examples():
    assert len(MAPPINGS) >= 8
    assert len(EXAMPLES) >= 7
    assert len(SOURCES) >= 1
    assert {kind for kind, _ in BLOCKS} >= {"yaml", "json", "csv", "python"}


@pytest.mark.parametrize("text", MAPPINGS, ids=range(len(MAPPINGS)))
def test_every_mapping_is_valid(tmp_path, text):
    assert load_mapping(write_mapping(tmp_path, text)).columns


@pytest.mark.parametrize(("example", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_file_loads_whole_through_its_mapping(tmp_path, example, text):
    path = write_mapping(tmp_path, text)
    rows = write_lines(tmp_path / f"in.{load_mapping(path).format}", example.strip().split("\n"))
    result = bring(tmp_path, rows, "mapping", mapping_path=path)

    header = 1 if rows.suffix == ".csv" else 0
    assert (result.state, result.rows_quarantined, result.message) == ("committed", 0, "")
    assert result.rows_read == len(example.strip().split("\n")) - header


def test_the_two_token_conventions_give_the_same_row(tmp_path, lake_rows):
    conventions = [(example, text) for example, text in EXAMPLES if "output_includes_reasoning" in text]
    assert len(conventions) == 2
    for number, (example, text) in enumerate(conventions):
        rows = write_lines(tmp_path / f"{number}.jsonl", example.strip().split("\n"))
        bring(tmp_path, rows, "mapping", mapping_path=write_mapping(tmp_path, text))

    names = "uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, output_text_tokens, reasoning_tokens"
    assert lake_rows("llm_calls", names) == [(200, 700, 100, 50, 40)] * 2


def test_the_outcomes_of_the_example_tasks(tmp_path, lake_rows):
    [(example, text)] = [(example, text) for example, text in EXAMPLES if "contract: tasks" in text]
    rows = write_lines(tmp_path / "in.csv", example.strip().split("\n"))
    bring(tmp_path, rows, "mapping", mapping_path=write_mapping(tmp_path, text))

    assert lake_rows("tasks", "task_id, outcome") == [("T-77", "success"), ("T-78", "failure"), ("T-79", "unknown")]


@pytest.mark.parametrize("text", SOURCES, ids=range(len(SOURCES)))
def test_every_configuration_is_valid(tmp_path, text):
    (tmp_path / "pertask.yml").write_text(text, encoding="utf-8")
    config = load_config(Home(tmp_path), with_mappings=False)

    assert config.sources.keys() == YAML(typ="safe").load(text)["sources"].keys()


def test_every_expression_of_the_tables_is_allowed(tmp_path):
    table = PAGE[PAGE.index("| to get | write |") : PAGE.index("Only functions that compute")]
    written = [
        found for row in table.strip().splitlines()[2:] for found in re.findall(r"`([^`]+)`", row.split("|", 2)[2])
    ]
    assert len(written) >= 9
    for expression in written:
        is_time = expression.startswith(("to_timestamp", "epoch_ms"))
        column = "closed_at" if is_time else "complexity"
        text = f"contract: tasks\nformat: csv\ncolumns:\n  task_id: id\n  {column}: {expression}\n"
        assert load_mapping(write_mapping(tmp_path, text)).columns, expression


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "quarantined_rows"])
def test_the_reference_lists_every_column(name):
    reference = PAGE[PAGE.index("### The contracts and their columns") : PAGE.index("### When something is wrong")]
    if f"**`{name}`**" in reference:
        section = reference.split(f"**`{name}`**", 1)[1].split("\n**", 1)
        section = section[0] if name != "bill_lines" else "\n".join(section).split("**`gpu_samples`**")[0]
    else:
        section = next(line for line in reference.splitlines() if line.startswith(f"| `{name}`"))
    listed = set(re.findall(r"`(\w+)`", section))
    columns = {*CONTRACTS[name].column_names} - {"source", "task_id_origin", "is_attempt_told"}
    assert columns - listed == set()


def test_the_reference_lists_every_key():
    table = PAGE[PAGE.index("### The keys") : PAGE.index("### Where a value comes from")]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(mapping._KEYS)


def test_the_example_format_works_as_it_stands(tmp_path, lake_rows, monkeypatch):
    [code] = [text for kind, text in BLOCKS if kind == "python"]
    module = types.ModuleType("ingest.formats.acme_gateway")
    exec(compile(code, "docs/add-a-format.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, module.NAME))
    line = '{"acme_request": "a1", "ts": 1785578400250, "model": "m", "prompt": "x", '
    line += '"tokens": {"in": 5, "cached": 9, "out": 2}}'
    result = bring(tmp_path, write_lines(tmp_path / "acme.jsonl", [line]))

    assert (result.format, result.rows_loaded, result.message) == ("acme_gateway", 1, "")
    assert lake_rows("llm_calls", "call_id, uncached_input_tokens, cache_read_tokens, output_text_tokens") == [
        ("a1", 5, 9, 2)
    ]
