"""What the house rules look at, a small project that keeps all of them, and the faults that break one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

CROSS_DB_TEST = "tests/python/test_cross_db.py"

_SOUND_SQL = """\
{{ config(meta={'date_column': 'usage_date'}) }}

-- concat(a, b) and x::date in a comment, unnest() in a 'literal', or the regular expression '[a]//b->c', are none
with calls as (
    select * from {{ ref('calls') }}
    where {{ matches_pattern('model', "'^[a-z]+://(.*)->'") }}
)

select
    call_id,
    usage_date,
    'unnest(x)' as word,
    {{ safe_divide('sum(cost_usd)', 'sum(tokens)') }} as cost_per_token,
    cost_usd / 1000000 as cost_of_millionths,
    case when total_usd > 0 then cost_usd / total_usd end as share,
    cost_usd / {{ var('days') }} as cost_per_day,
    row_number() over (partition by call_id order by task_id asc nulls last, started_at, team desc) as place
from calls
where task_id is distinct from core.call_id
"""

DISPATCHED = """\
{#- The day of a moment. -#}
{% macro day_of(x) %}{{ return(adapter.dispatch('day_of', 'pertask')(x)) }}{% endmacro %}
{% macro default__day_of(x) %}cast({{ x }} as date){% endmacro %}
"""


@dataclass
class Project:
    """What rules look at: dbt's manifest as in manifest.json, and the texts of files by their path."""

    manifest: dict[str, Any]
    files: dict[str, str]

    def models(self, folder: str = "") -> list[dict[str, Any]]:
        """The models below a folder of models/."""
        prefix = f"models/{folder}"
        nodes = self.manifest["nodes"].values()
        return [
            node for node in nodes if node["resource_type"] == "model" and node["original_file_path"].startswith(prefix)
        ]

    def model(self, name: str) -> dict[str, Any]:
        """The model of a name."""
        return self.manifest["nodes"][f"model.pertask.{name}"]

    def parents(self, model: dict[str, Any]) -> list[str]:
        """dbt's ids of what a model reads: ``model.pertask.x``, ``seed.pertask.x``, ``source.pertask.lake.x``."""
        return self.manifest["parent_map"][model["unique_id"]]

    def tests(self, model: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
        """The generic tests of a model by name, with their columns."""
        for node in self.manifest["nodes"].values():
            if node["resource_type"] == "test" and node.get("attached_node") == model["unique_id"]:
                about = node["test_metadata"]
                yield about["name"], about["kwargs"].get("columns") or [node["column_name"]]

    def required(self, model_id: str) -> set[str]:
        """The columns of which a test says that they are never null."""
        return {
            column
            for name, columns in self.tests({"unique_id": model_id})
            if name in ("required", "not_null")
            for column in columns
        }

    def has_key_test(self, model: dict[str, Any]) -> bool:
        """Whether tests say that a key is unique, and some columns there."""
        names = {name for name, _ in self.tests(model)}
        return bool(names & {"unique", "unique_combination"}) and bool(names & {"required", "not_null"})

    def shared_sql(self, *, with_macros: bool = True) -> Iterator[tuple[str, str]]:
        """The SQL files that every engine runs, by path: models, singular tests and the macros without dispatch.

        macros/dbt_duckdb and macros/dbt_spark are none of them: they change macros of those adapters, under the names
        that they have there.
        """
        for path, text in self.files.items():
            is_macro = path.startswith("macros/") and not path.startswith(("macros/cross_db/", "macros/dbt_"))
            if path.startswith(("models/", "tests/sql/")) or (with_macros and is_macro):
                yield path, text

    def macro_files(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each file of macros: its path, its text, the names that it defines."""
        for path, text in self.files.items():
            if path.startswith("macros/"):
                yield path, text, re.findall(r"{%-?\s*(?:macro|test|materialization)\s+(\w+)", text)


def sound_project() -> Project:
    """A small project that keeps every rule."""
    columns = {
        "call_id": {"name": "call_id", "data_type": "string", "description": "The call."},
        "usage_date": {"name": "usage_date", "data_type": "date", "description": "Its date (UTC)."},
        "cost_usd": {"name": "cost_usd", "data_type": "decimal(38, 12)", "description": "What it cost, in USD."},
    }
    dated = {
        "materialized": "incremental",
        "incremental_strategy": "replace_dates",
        "meta": {"date_column": "usage_date"},
    }
    nodes, parents, files = {}, {}, {}
    for name, folder, schema, config, read in (
        ("stg_calls", "staging/llm_calls", "staging", {"materialized": "view"}, "source.pertask.lake.llm_calls"),
        (
            "int_calls",
            "intermediate",
            "intermediate",
            {"materialized": "incremental", **dated},
            "model.pertask.stg_calls",
        ),
        ("fct_calls", "marts/core", "core", {"materialized": "incremental", **dated}, "model.pertask.int_calls"),
    ):
        is_mart = folder.startswith("marts")
        path, unique_id = f"models/{folder}/{name}.sql", f"model.pertask.{name}"
        nodes[unique_id] = {
            "resource_type": "model",
            "unique_id": unique_id,
            "name": name,
            "original_file_path": path,
            "patch_path": f"pertask://{path.removesuffix('.sql')}.yml",
            "schema": schema,
            "description": "One row per call.",
            "columns": deepcopy(columns),
            "access": "public" if is_mart else "protected",
            "contract": {"enforced": is_mart},
            "config": {"meta": {}, **config},
        }
        for test in ("unique_combination", "required"):
            nodes[f"test.pertask.{test}.{name}"] = {
                "resource_type": "test",
                "attached_node": unique_id,
                "column_name": None,
                "test_metadata": {"name": test, "kwargs": {"columns": ["call_id", "usage_date"]}},
            }
        parents[unique_id] = [read]
        files[path] = _SOUND_SQL
    files |= {
        "tests/sql/assert_sums.sql": "select call_id from {{ ref('fct_calls') }}",
        "macros/cross_db/day_of.sql": DISPATCHED,
        "macros/finops/part_of.sql": "{#- A part, on DuckDB too. -#}\n{% macro part_of(x) %}{{ x }}{% endmacro %}",
        "macros/generic_tests/odd.sql": "{#- No value is odd. -#}\n{% test odd(model) %}select 1{% endtest %}",
        CROSS_DB_TEST: 'CASES = ["day_of"]',
    }
    return Project({"nodes": nodes, "parent_map": parents, "unit_tests": {}}, files)


def with_file(path: str, text: str) -> Callable[[Project], object]:
    """A fault: a file of this text."""
    return lambda project: project.files.update({path: text})


def with_sql(text: str) -> Callable[[Project], object]:
    """A fault: this text as int_calls.sql."""
    return with_file("models/intermediate/int_calls.sql", text)


def with_model(model: str, /, **changes: object) -> Callable[[Project], object]:
    """A fault: a model that differs in these entries of the manifest."""
    return lambda project: project.model(model).update(changes)


def with_column(name: str, **changes: object) -> Callable[[Project], object]:
    """A fault: a column of fct_calls more, or other than it was."""
    column = {"name": name, "data_type": "string", "description": "What it is.", **changes}
    return lambda project: project.model("fct_calls")["columns"].update({name: column})


def with_parents(name: str, *parents: str) -> Callable[[Project], object]:
    """A fault: a model that reads these."""
    return lambda project: project.manifest["parent_map"].update({f"model.pertask.{name}": list(parents)})


def without_test(name: str) -> Callable[[Project], object]:
    """A fault: int_calls lacks a test."""
    return lambda project: project.manifest["nodes"].pop(f"test.pertask.{name}.int_calls")
