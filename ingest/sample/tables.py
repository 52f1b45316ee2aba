"""The small deliveries: task labels, evaluation results, what the company says of itself, and how to read it all."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from ingest.sample.files import Files
from ingest.sample.world import DAY_MS, TASK_TYPE_ALIASES, TEAM_ALIASES, TEAMS, World, midnight

EVAL_ITEMS = 400
_RELABELLED_AFTER_DAYS = 2
_LABEL_COLUMNS = (
    "task_id",
    "task_type",
    "team",
    "outcome",
    "closed_at",
    "complexity",
    "quality_score",
    "value",
    "value_currency",
)


def write_tasks(labels: pl.DataFrame, files: Files) -> dict:
    """The ticket systems' lists, one a day: what was closed, and what was closed again with another outcome.

    A task whose label changed was first escalated and came back days later as a success, without its complexity.
    """
    closed = pl.from_epoch(pl.col("closed_ms"), time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = labels.with_columns(
        closed_at=pl.when(pl.col("outcome") != "unknown").then(closed),
        day=pl.col("closed_ms") // DAY_MS,
    )
    is_changed = pl.col("is_relabelled")
    first = rows.filter(pl.col("outcome").is_not_null()).with_columns(
        outcome=pl.when(is_changed).then(pl.lit("escalated")).otherwise(pl.col("outcome")),
        value=pl.when(~is_changed).then(pl.col("value")),
        value_currency=pl.when(~is_changed).then(pl.col("value_currency")),
    )
    second = rows.filter(is_changed).with_columns(
        day=pl.col("day") + _RELABELLED_AFTER_DAYS,
        complexity=pl.lit(None, pl.String),
        quality_score=pl.lit(None, pl.Float64),
    )
    every = pl.concat([first, second]).sort("day", "task_id")
    lines = every.select("day", line=_without_nulls(pl.struct(_LABEL_COLUMNS).struct.json_encode()))
    days = lines.group_by("day", maintain_order=True).agg(pl.col("line").str.join("\n"))
    for day_number, text in days.iter_rows():
        day = date(1970, 1, 1) + timedelta(days=day_number)
        files.write(f"landing/tasks/tasks_{day}.jsonl", text + "\n", midnight(day) + timedelta(days=1, hours=3))
    return _count("tasks", len(every), len(days))


def write_evals(world: World, files: Files) -> dict:
    """Two paired comparisons on the same items: a quantised model, and a small one in place of the flagship."""
    random = world.random("evaluations")
    lines = ["run,task,item,topic,candidate,model,dtype,verdict,confidence,cost_usd"]
    for run, task, pairs, both, only_first, only_second in (
        (
            "quant-2026-08",
            "ticket_summary",
            (("bf16", "Llama-3.1-8B", "bf16", 0.0021), ("int4", "Llama-3.1-8B", "int4", 0.0009)),
            0.86,
            0.035,
            0.015,
        ),
        (
            "route-2026-08",
            "support_ticket",
            (("large", "gpt-5.6-sol", "", 0.0612), ("small", "gpt-5-mini", "", 0.0041)),
            0.71,
            0.21,
            0.02,
        ),
    ):
        drawn = random.random(EVAL_ITEMS)
        first_right = drawn < both + only_first
        second_right = (drawn < both) | ((drawn >= both + only_first) & (drawn < both + only_first + only_second))
        sure = np.where(second_right, random.beta(6, 2, EVAL_ITEMS), random.beta(3, 3, EVAL_ITEMS)).round(3)
        for item in range(EVAL_ITEMS):
            for (variant, model, dtype, cost), right in zip(
                pairs, (first_right[item], second_right[item]), strict=True
            ):
                confidence = f"{sure[item]:.3f}" if variant in ("small", "int4") else ""
                lines.append(
                    f"{run},{task},{task}-{item:04d},topic-{item % 37:02d},{variant},{model},{dtype},"
                    f"{'yes' if right else 'no'},{confidence},{cost:.4f}"
                )
    files.write("landing/evals/paired_evals.csv", "\n".join(lines) + "\n", midnight(world.end_date))
    return _count("eval_results", len(lines) - 1, 1)


def write_company(world: World, files: Files) -> None:
    """company/*.csv: teams, task types, aliases and who owns which machines."""
    written_at = midnight(world.first_date)
    teams = ["team,display_name,owner,valid_from,valid_to"]
    teams += [f"{team},{name},{team}-lead@example.com,," for team, name in TEAMS.items()]
    aliases = ["kind,alias,name,valid_from,valid_to"]
    aliases += [f"team,{alias},{name},," for alias, name in TEAM_ALIASES.items()]
    aliases += [f"task_type,{alias},{name},," for alias, name in TASK_TYPE_ALIASES.items()]
    for name, text in (
        ("teams", "\n".join(teams) + "\n"),
        ("task_types", _TASK_TYPES),
        ("aliases", "\n".join(aliases) + "\n"),
        ("owners", _OWNERS),
    ):
        files.write(f"company/{name}.csv", text, written_at)


def write_configuration(world: World, files: Files) -> None:
    """pertask.yml and the mapping files that it names."""
    written_at = midnight(world.first_date)
    files.write("pertask.yml", _CONFIGURATION, written_at)
    for name, text in _MAPPINGS.items():
        files.write(f"mappings/{name}.yml", text, written_at)


def _count(contract: str, rows: int, files: int) -> dict:
    return {
        "contract": contract,
        "files": files,
        "deliveries": files,
        "rows_loaded": rows,
        "rows_quarantined": 0,
        "rows_skipped": 0,
    }


def _without_nulls(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r'"\w+":null,', "").str.replace_all(r',?"\w+":null', "")


_TASK_TYPES = """\
task_type,display_name,unit_noun,workload_class,latency_target_seconds,quality_tolerance_ratio,\
may_move,valid_from,valid_to
support_ticket,Support ticket,ticket,interactive,20,0.03,false,,
fraud_alert,Fraud alert,alert,interactive,120,0.01,false,,
re_embedding,Re-embedding night,collection,batch,,0.02,true,,
ticket_summary,Ticket summary,summary,interactive,15,0.03,true,,
kb_rerank,Knowledge re-ranking,query,interactive,1,0.02,true,,
live_translation,Live translation,message,interactive,3,0.03,false,,
merchant_screening,Merchant screening,merchant,interactive,30,0.01,false,,
case_rerank,Case re-ranking,query,interactive,1,0.02,false,,
prompt_lab,Prompt experiment,experiment,batch,,0.05,true,,
code_help,Editor session,session,interactive,10,0.05,true,,
"""

_OWNERS = """\
match_on,match_value,team,service,valid_from,valid_to
namespace,assist,support,assistant,,
namespace,search,search,knowledge_search,,
namespace,fraud,fraud,fraud_desk,,
namespace,research,research,,,
resource_id,i-0b1a7c40000000e1,search,knowledge_search,,
sub_account_id,acct-in-409112-prod,platform,,,
sub_account_id,acct-uk-733009-prod,platform,,,
sub_account_id,acct-us-120045-prod,platform,,,
"""

_CONFIGURATION = """\
# The sample company: a support assistant in Bengaluru, a fraud desk in London, GPU servers in Mumbai and London.
sources:
  gateway: {path: landing/gateway, format: litellm_spend_logs}
  embeddings: {path: landing/embeddings, format: mapping, mapping: mappings/embeddings.yml}
  tasks: {path: landing/tasks, format: tasks}
  cloud_bill_in: {path: landing/bills/ap-south-1, format: focus}
  cloud_bill_uk: {path: landing/bills/eu-west-2, format: focus}
  cloud_bill_global: {path: landing/bills/global, format: focus}
  gpu_metrics_in: {path: landing/gpu/mumbai, format: prometheus}
  gpu_metrics_uk: {path: landing/gpu/london, format: prometheus}
  resource_links: {path: landing/inventory/resource_links.csv, format: resource_links}
  replica_windows:
    path: landing/inventory/replica_windows.csv
    format: mapping
    mapping: mappings/replica_windows.yml
  gpu_events: {path: landing/inventory/gpu_events.csv, format: mapping, mapping: mappings/gpu_events.yml}
  evals: {path: landing/evals, format: mapping, mapping: mappings/evals.yml}
  fx_rates: {path: landing/fx, format: mapping, mapping: mappings/fx_rates.yml}
limits: {quarantined_ratio: 0.01}
"""

_MAPPINGS = {
    "embeddings": """\
# The embedding job's own log: its clock is in Bengaluru and writes no offset.
contract: llm_calls
format: jsonl
time_zone: Asia/Kolkata
columns:
  call_id: batch
  attempt_number: attempt
  task_id: job
  task_type: "'re-embed'"
  step_name: "'embed'"
  call_kind: "'embedding'"
  workload_kind: "'batch'"
  team: "'search'"
  application: "'knowledge-base'"
  started_at: begun
  ended_at: finished
  provider: model.vendor
  model: model.name
  input_tokens: usage.prompt_tokens
  status: "case when state = 'done' then 'success' else 'failed' end"
  error_type: error_code
""",
    "fx_rates": """\
contract: fx_rates
format: csv
columns:
  rate_date: rate_day
  base: from_currency
  quote: to_currency
  rate: mid
  origin: publisher
""",
    "evals": """\
contract: eval_results
format: csv
columns:
  eval_run_id: run
  task_type: task
  item_id: item
  cluster_id: topic
  variant: candidate
  model: model
  precision: dtype
  is_correct: "case when verdict = 'yes' then 'true' else 'false' end"
  confidence: confidence
  cost: cost_usd
  currency: "'USD'"
""",
    "gpu_events": """\
contract: gpu_events
format: csv
columns:
  resource_id: instance
  replica_id: replica
  event: "case what when 'spot-notice' then 'interruption' when 'spot-terminated' then 'eviction' else 'restart' end"
  at: happened
  origin: seen_by
""",
    "replica_windows": """\
contract: replica_windows
format: csv
columns:
  replica_id: replica
  deployment_id: deployment
  model: served_model
  precision: dtype
  resource_id: instance
  gpu_uuid: gpu
  gpu_count: gpus
  loaded_at: loaded
  unloaded_at: unloaded
""",
}
