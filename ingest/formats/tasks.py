"""Tasks: what became of a unit of work, as CSV, JSON lines or Parquet; one row per task, the newest value wins.

Columns have the contract's names or one of the common names below. Several deliveries may each bring a part of a
task: staging merges them by the newest value that is not null. Outcomes are read in their usual spellings.
"""

from __future__ import annotations

from ingest.reading import Head, Reader, identifier, literal
from ingest.rows import Extract

NAME = "tasks"
VERSION = 1
CONTRACTS = ("tasks",)
DELIVERY = "file"
REPLACES_PERIOD = False

FIELDS = {
    # contract column: the names it has in files, the first one that has a value
    "task_id": ("task_id", "ticket_id", "case_id"),
    "task_type": ("task_type",),
    "team": ("team",),
    "application": ("application", "app"),
    "customer": ("customer", "customer_id"),
    "environment": ("environment", "env"),
    "outcome": ("outcome", "status", "result"),
    "closed_at": ("closed_at", "resolved_at", "completed_at"),
    "complexity": ("complexity", "difficulty"),
    "quality_score": ("quality_score", "score"),
    "value": ("value", "task_value"),
    "value_currency": ("value_currency", "currency"),
}

OUTCOMES = {
    "success": ("success", "successful", "succeeded", "resolved", "solved", "completed", "passed", "true"),
    "escalated": ("escalated", "escalation", "handed over", "transferred"),
    "failure": ("failure", "failed", "unresolved", "unsolved", "abandoned", "false"),
    "unknown": ("unknown", "open", "pending", "in progress"),
}
"""Outcome -> its spellings in files, without regard to case, hyphens and underscores."""

_CALL_COLUMNS = {
    "model",
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "call_id",
    "request_id",
    "attempt_number",
    "started_at",
    "item_id",
}
"""Columns that say a file is about calls or evals, which carry a task's id as well."""


def sniff(head: Head) -> bool:
    """Whether the file has a task's id, something that is said of tasks, and nothing that is said of calls."""
    columns = {name.lower() for name in head.columns}
    said = [names for column, names in FIELDS.items() if column != "task_id" and columns.intersection(names)]
    return (
        head.kind != "json" and bool(columns.intersection(FIELDS["task_id"]) and said) and not columns & _CALL_COLUMNS
    )


def read(reader: Reader) -> list[Extract]:
    """The file's rows as tasks."""
    rows = reader.rows([name for names in FIELDS.values() for name in names], known=())
    columns = {column: _first(names) for column, names in FIELDS.items()}
    columns["outcome"] = _outcome(columns["outcome"])
    columns["value_currency"] = f"upper({columns['value_currency']})"
    return [Extract(contract="tasks", rows=rows, columns=columns)]


def _first(names: tuple[str, ...]) -> str:
    values = ", ".join(f"nullif(trim({identifier(name)}), '')" for name in names)
    return f"coalesce({values}, null)"


def _outcome(value: str) -> str:
    """SQL of an outcome in the contract's spelling; any other word stays, and quarantines its row."""
    word = f"replace(replace(lower({value}), '_', ' '), '-', ' ')"
    known = ", ".join(
        f"{literal(spelling)}: {literal(outcome)}" for outcome, spellings in OUTCOMES.items() for spelling in spellings
    )
    return f"coalesce(map {{{known}}}[{word}], {value})"
