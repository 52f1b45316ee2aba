"""The labels that an application may put on its calls, by the names of the contract columns that they fill."""

from __future__ import annotations

LABELS = (
    "call_id",
    "attempt_number",
    "parent_call_id",
    "task_id",
    "task_type",
    "step_name",
    "step_index",
    "call_kind",
    "workload_kind",
    "team",
    "application",
    "customer",
    "environment",
    "prompt_version",
    "release",
    "experiment",
    "service_tier",
    "region",
    "deployment_id",
    "replica_id",
    "tool_call_count",
    "error_type",
    "retry_reason",
    "prompt_hash",
    "prefix_hash",
    "prefix_tokens",
    "context_tokens",
    "temperature",
    "router_confidence",
)
"""What every format with free keys reads of them; a format whose vendor has more places for labels reads more."""
