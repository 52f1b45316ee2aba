"""The four marts by pandas, with pyarrow to read the log: the columns that are needed, names as categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.baselines.facts import GPU_MODEL, GPUS_EACH, OWN_PROVIDER, PRICES, SAMPLE_SECONDS, UNTAGGED

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STEP = ["task_number", "step_index"]
LANE = ["replica_id", "hour_at"]
STATES = ("active", "loaded_idle", "unallocated", "unknown")


def whole_path(home: Path, out: Path) -> None:
    """The marts of the landing files of a home, as Parquet files in ``out``."""
    landing = home / "landing"
    out.mkdir(parents=True, exist_ok=True)
    attempts, task_ids = _attempts(landing)
    pieces = _pieces(attempts)
    gpu_hours = _gpu_hours(landing, pieces)
    _add_costs(attempts, _own_costs(landing, pieces, gpu_hours))
    _add_roles(attempts)
    del pieces
    outcomes = _outcomes(landing, task_ids)
    for name, mart in (
        ("cost_per_task_daily", _cost_per_task_daily(attempts, outcomes)),
        ("retry_overhead_daily", _retry_overhead_daily(attempts, outcomes)),
        ("gpu_utilisation_hourly", _gpu_utilisation_hourly(gpu_hours)),
        ("idle_dollars_daily", _idle_dollars_daily(gpu_hours)),
    ):
        mart.to_parquet(out / f"{name}.parquet", index=False)


def _attempts(landing: Path) -> tuple[pd.DataFrame, pd.Index]:
    """One row per line of the log, and the tasks' ids: a row has the place of its task's id among them."""
    import pandas as pd

    days = [_day(path) for path in sorted((landing / "gateway").glob("*.jsonl"))]
    ids = pd.concat([day.pop("task_id") for day in days], ignore_index=True)
    names = {}
    for column in ("task_type", "team", "step_name", "replica_id", "model"):
        names[column] = pd.api.types.union_categoricals([day.pop(column) for day in days])
    attempts = pd.concat(days, ignore_index=True)
    for column, values in names.items():
        attempts[column] = values
    # the ids are long: one number a task groups and joins faster
    numbers, task_ids = pd.factorize(ids)
    attempts["task_number"] = numbers
    return attempts, pd.Index(task_ids)


def _day(path: Path) -> pd.DataFrame:
    """The lines of a day's log, priced where a vendor meters them."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import json

    labels = {
        "task_id": pa.string(),
        "task_type": pa.string(),
        "step_name": pa.string(),
        "step_index": pa.int16(),
        "attempt_number": pa.int16(),
        "retry_reason": pa.string(),
        "replica_id": pa.string(),
    }
    usage = {
        "prompt_tokens_details": pa.struct({"cached_tokens": pa.int64()}),
        "cache_creation_input_tokens": pa.int64(),
    }
    schema = pa.schema(
        {
            "request_id": pa.string(),
            "startTime": pa.timestamp("us"),
            "endTime": pa.timestamp("us"),
            "model": pa.string(),
            "team_id": pa.string(),
            "prompt_tokens": pa.int64(),
            "completion_tokens": pa.int64(),
            "status": pa.string(),
            "metadata": pa.struct({"spend_logs_metadata": pa.struct(labels), "usage_object": pa.struct(usage)}),
        }
    )
    table = json.read_json(
        path, parse_options=json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    ).combine_chunks()

    def label(name: str) -> pa.ChunkedArray:
        return pc.struct_field(table["metadata"], ["spend_logs_metadata", name])

    def count(*names: str) -> pd.Series:
        return pc.fill_null(pc.struct_field(table["metadata"], ["usage_object", *names]), 0).to_pandas()

    task_id = label("task_id")
    day = pd.DataFrame(
        {
            "task_id": pc.coalesce(task_id, table["request_id"]).to_pandas(types_mapper=pd.ArrowDtype),
            "has_task": pc.is_valid(task_id).to_pandas(),
            "task_type": _category(pc.fill_null(label("task_type"), UNTAGGED)),
            "team": _category(pc.fill_null(table["team_id"], UNTAGGED)),
            "step_name": _category(label("step_name")),
            "step_index": pc.fill_null(label("step_index"), -1).to_pandas(),
            "attempt_number": pc.fill_null(label("attempt_number"), 1).to_pandas(),
            "is_asked_again": pc.is_valid(label("retry_reason")).to_pandas(),
            "replica_id": _category(label("replica_id")),
            "started_at": table["startTime"].to_pandas(),
            "ended_at": table["endTime"].to_pandas(),
            "model": _category(pc.replace_substring(table["model"], OWN_PROVIDER, "")),
            "is_success": pc.equal(table["status"], "success").to_pandas(),
        }
    )
    inputs, outputs = table["prompt_tokens"].to_pandas(), table["completion_tokens"].to_pandas()
    cached, written = count("prompt_tokens_details", "cached_tokens"), count("cache_creation_input_tokens")
    prices = pd.DataFrame.from_dict(PRICES, orient="index", columns=["input", "cached", "written", "output"]) / 1e6
    # a price a category, taken by its code: the own model has none
    by_code = prices.reindex(day["model"].cat.categories)
    price = by_code.iloc[day["model"].cat.codes].reset_index(drop=True)
    day["metered_usd"] = (
        (inputs - cached - written) * price["input"]
        + cached * price["cached"]
        + written * price["written"]
        + outputs * price["output"]
    )
    day["quoted_usd"] = inputs * price["input"] + outputs * price["output"]
    return day


def _category(names: pa.ChunkedArray) -> pd.Series:
    return names.dictionary_encode().to_pandas()


def _pieces(attempts: pd.DataFrame) -> pd.DataFrame:
    """One row per own call and hour in which it was in flight: its share of the lane's time, and of its busy time."""
    import numpy as np
    import pandas as pd

    own = attempts.loc[attempts["replica_id"].notna(), ["replica_id", "started_at", "ended_at"]]
    first = own["started_at"].dt.floor("h")
    hours = ((own["ended_at"] - first) / pd.Timedelta(hours=1)).apply(np.ceil).clip(lower=1).astype("int64")
    pieces = own.loc[own.index.repeat(hours)]
    pieces = pieces.rename_axis("attempt").reset_index()
    pieces["hour_at"] = pieces["started_at"].dt.floor("h") + pd.to_timedelta(
        pieces.groupby("attempt").cumcount(), unit="h"
    )
    start = pieces["started_at"].where(pieces["started_at"] > pieces["hour_at"], pieces["hour_at"])
    hour_end = pieces["hour_at"] + pd.Timedelta(hours=1)
    end = pieces["ended_at"].where(pieces["ended_at"] < hour_end, hour_end)

    # nothing is in flight where a lane or an hour ends, so that sums may run through
    lane = pieces.groupby(LANE, observed=True, sort=False).ngroup().to_numpy()
    moment = np.concatenate(
        [start.astype("datetime64[us]").astype("int64"), end.astype("datetime64[us]").astype("int64")]
    )
    side = np.repeat([1, -1], len(pieces))
    order = np.lexsort((-side, moment, np.tile(lane, 2)))
    length = np.diff(moment[order], append=0)
    in_flight = np.cumsum(side[order])
    is_busy = in_flight > 0
    busy = np.where(is_busy, length, 0)
    share = np.where(is_busy, length / np.maximum(in_flight, 1), 0.0)
    before = np.empty(len(order))
    before[order] = np.concatenate([[0.0], np.cumsum(share)[:-1]])
    busy_from = np.empty(len(order), dtype="int64")
    busy_from[order] = busy
    pieces["share"] = before[len(pieces) :] - before[: len(pieces)]
    pieces["busy"] = busy_from[: len(pieces)] + busy_from[len(pieces) :]
    return pieces[["attempt", *LANE, "share", "busy"]]


def _replicas(landing: Path) -> pd.DataFrame:
    import pandas as pd

    windows = pd.concat(
        pd.read_csv(path, usecols=["replica", "machine"]) for path in (landing / "windows").glob("*.csv")
    )
    return windows.drop_duplicates().rename(columns={"replica": "replica_id", "machine": "resource_id"})


def _gpu_hours(landing: Path, pieces: pd.DataFrame) -> pd.DataFrame:
    """One row per GPU and hour: billed time is active, loaded idle, unallocated, else unknown; money goes with time."""
    import numpy as np
    import pandas as pd

    sampled = pd.concat(_sampled_day(path) for path in (landing / "telemetry").glob("*.csv"))
    lanes = pieces.groupby(LANE, observed=True, as_index=False)["busy"].sum()
    lanes["busy"] /= 1e6
    lanes = lanes.astype({"replica_id": str}).merge(_replicas(landing), on="replica_id").drop(columns="replica_id")
    used = ["ResourceId", "ChargePeriodStart", "RegionId", "PricingCategory", "Tags", "ConsumedQuantity"]
    bill = pd.concat(
        pd.read_csv(path, usecols=[*used, "EffectiveCost", "ChargeCategory"])
        for path in (landing / "bill").glob("*/*.csv")
    )
    bill = bill[bill["ChargeCategory"] == "Usage"]
    hours = pd.DataFrame(
        {
            "resource_id": bill["ResourceId"],
            "hour_at": pd.to_datetime(bill["ChargePeriodStart"]).dt.tz_localize(None),
            "region": bill["RegionId"],
            "gpu_model": GPU_MODEL,
            "purchase_mode": bill["PricingCategory"].map({"Dynamic": "spot", "Standard": "on_demand"}),
            "team": bill["Tags"].str.extract(r'"team":\s*"([^"]*)"', expand=False),
            "room": bill["ConsumedQuantity"] * 3600.0,
            "cost_usd": bill["EffectiveCost"] / GPUS_EACH,
        }
    )
    gpus = pd.concat(
        pd.read_csv(path, usecols=["gpu_uuid", "resource_id"]) for path in (landing / "links").glob("*.csv")
    )
    frame = (
        hours.merge(gpus, on="resource_id")
        .merge(sampled, on=["gpu_uuid", "hour_at"], how="left")
        .merge(lanes, on=["resource_id", "hour_at"], how="left")
    )
    seen = ["sampled", "active", "loaded_idle", "unallocated", "busy"]
    frame[seen] = frame[seen].fillna(0.0)
    room = frame["room"]
    seen_active = np.maximum(frame["active"], frame["busy"])
    seen_loaded = np.maximum(seen_active, frame["active"] + frame["loaded_idle"])
    active_end, loaded_end = np.minimum(seen_active, room), np.minimum(seen_loaded, room)
    unallocated_end = np.minimum(seen_loaded + frame["unallocated"], room)
    frame["sampled"] = np.minimum(frame["sampled"], room)
    frame["active_seconds"] = active_end
    frame["loaded_idle_seconds"] = loaded_end - active_end
    frame["unallocated_seconds"] = unallocated_end - loaded_end
    frame["unknown_seconds"] = room - unallocated_end
    for state in STATES:
        frame[f"{state}_usd"] = frame["cost_usd"] * frame[f"{state}_seconds"] / room
    frame["called_usd"] = (frame["active_usd"] * frame["busy"] / seen_active.where(seen_active > 0)).fillna(0.0)
    frame["idle_usd"] = frame["loaded_idle_usd"] + frame["unallocated_usd"]
    frame["usage_date"] = frame["hour_at"].dt.date
    return frame


def _sampled_day(path: Path) -> pd.DataFrame:
    """What a day's samples say of each GPU and hour, in seconds."""
    import pandas as pd

    samples = pd.read_csv(
        path, usecols=["gpu", "sampled_at", "gr_engine_active", "pod"], dtype={"gpu": "category"}, engine="pyarrow"
    )
    activity, is_held = samples["gr_engine_active"], samples["pod"].notna()
    seconds = pd.DataFrame(
        {
            "gpu_uuid": samples["gpu"],
            "hour_at": pd.to_datetime(samples["sampled_at"]).dt.tz_localize(None).dt.floor("h"),
            "sampled": SAMPLE_SECONDS,
            "active": SAMPLE_SECONDS * activity,
            "loaded_idle": SAMPLE_SECONDS * (1 - activity).where(is_held, 0.0),
            "unallocated": SAMPLE_SECONDS * (1 - activity).where(~is_held, 0.0),
        }
    )
    return seconds.groupby(["gpu_uuid", "hour_at"], observed=True, as_index=False).sum().astype({"gpu_uuid": str})


def _own_costs(landing: Path, pieces: pd.DataFrame, gpu_hours: pd.DataFrame) -> pd.DataFrame:
    """One row per own call: its share of its hours' called dollars, and with it that of those GPUs' idle days."""
    called = gpu_hours[["resource_id", "hour_at", "called_usd"]].copy()
    days = gpu_hours.groupby(["gpu_uuid", "usage_date"])[["called_usd", "idle_usd"]].transform("sum")
    carried = called["called_usd"] * days["idle_usd"] / days["called_usd"].where(days["called_usd"] > 0)
    called["loaded_usd"] = called["called_usd"] + carried.fillna(0.0)
    lanes = called.groupby(["resource_id", "hour_at"], as_index=False).sum().merge(_replicas(landing), on="resource_id")
    totals = pieces.groupby(LANE, observed=True, as_index=False)["share"].sum().astype({"replica_id": str})
    lanes = lanes.merge(totals, on=LANE)
    # dollars a microsecond of share
    for column in ("called_usd", "loaded_usd"):
        lanes[column] /= lanes["share"]
    lanes["replica_id"] = lanes["replica_id"].astype(pieces["replica_id"].dtype)
    shared = pieces.merge(lanes[[*LANE, "called_usd", "loaded_usd"]], on=LANE)
    shared["own_usd"] = shared["called_usd"] * shared["share"]
    shared["own_loaded_usd"] = shared["loaded_usd"] * shared["share"]
    return shared.groupby("attempt")[["own_usd", "own_loaded_usd"]].sum()


def _add_costs(attempts: pd.DataFrame, own_costs: pd.DataFrame) -> None:
    own = own_costs.reindex(attempts.index)
    attempts["cost_usd"] = attempts["metered_usd"].fillna(own["own_usd"])
    attempts["fully_loaded_cost_usd"] = attempts["metered_usd"].fillna(own["own_loaded_usd"])
    attempts["usage_date"] = attempts["started_at"].dt.normalize()
    attempts.drop(columns=["metered_usd", "ended_at", "replica_id"], inplace=True)


def _add_roles(attempts: pd.DataFrame) -> None:
    """Say what became of each attempt; only steps that were tried again need more than the status."""
    import numpy as np
    import pandas as pd

    steps = attempts.loc[attempts["attempt_number"] > 1, [*STEP, "step_name"]].drop_duplicates()
    columns = [*STEP, "step_name", "started_at", "is_success", "is_asked_again"]
    retried = attempts[columns].reset_index(names="attempt").merge(steps, on=[*STEP, "step_name"])
    retried = retried.sort_values([*STEP, "step_name", "started_at"], ignore_index=True)
    by_step = retried.groupby([*STEP, "step_name"], observed=True, sort=False)
    is_success = retried["is_success"] & ~by_step["is_asked_again"].shift(-1, fill_value=False)
    retried["position"] = by_step.cumcount()
    retried["successful"] = retried["position"].where(is_success)
    last = retried.groupby([*STEP, "step_name"], observed=True, sort=False)["successful"].transform("max")
    role = np.select(
        [~is_success & last.notna(), ~is_success, retried["position"] < last],
        ["recovered", "failed", "superseded"],
        "final_success",
    )
    attempts["role"] = np.where(attempts["is_success"], "final_success", "failed")
    attempts["role"] = attempts["role"].astype(
        pd.CategoricalDtype(["recovered", "failed", "superseded", "final_success", "abandoned", "unresolved"])
    )
    attempts.loc[retried["attempt"], "role"] = role
    attempts.loc[retried["attempt"], "is_success"] = is_success.to_numpy()
    attempts.drop(columns=["step_index", "step_name", "attempt_number", "is_asked_again"], inplace=True)


def _outcomes(landing: Path, task_ids: pd.Index) -> pd.Series:
    """The outcome of each task, by its number; unknown where nobody says."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import json

    schema = pa.schema({"task_id": pa.string(), "outcome": pa.string()})
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    told = pa.concat_tables(
        json.read_json(path, parse_options=options) for path in sorted((landing / "outcomes").glob("*.jsonl"))
    )
    numbers = task_ids.get_indexer(told["task_id"].to_pandas(types_mapper=pd.ArrowDtype))
    names = pd.Series(["success", "failure", "escalated", "unknown"], dtype="category")
    outcomes = pd.Series("unknown", index=range(len(task_ids)), dtype=names.dtype)
    outcomes.iloc[numbers[numbers >= 0]] = told["outcome"].to_pandas()[numbers >= 0]
    return outcomes


def _cost_per_task_daily(attempts: pd.DataFrame, outcomes: pd.Series) -> pd.DataFrame:
    key = ["started_date", "team", "task_type"]
    failed = attempts["cost_usd"].where(attempts["role"].isin(["recovered", "failed"]), 0.0)
    attempts = attempts.assign(failed_attempt_cost_usd=failed, is_unpriced=attempts["cost_usd"].isna())
    tasks = attempts.groupby("task_number").agg(
        has_task=("has_task", "first"),
        team=("team", "first"),
        task_type=("task_type", "first"),
        started_date=("usage_date", "min"),
        cost_usd=("cost_usd", "sum"),
        fully_loaded_cost_usd=("fully_loaded_cost_usd", "sum"),
        failed_attempt_cost_usd=("failed_attempt_cost_usd", "sum"),
        is_unpriced=("is_unpriced", "max"),
    )
    quoted = attempts.loc[
        attempts["is_success"] & attempts["quoted_usd"].notna(), ["task_number", "started_at", "quoted_usd"]
    ]
    firsts = quoted.sort_values("started_at").drop_duplicates("task_number").set_index("task_number")["quoted_usd"]
    tasks["headline_cost_usd"] = firsts.reindex(tasks.index)
    tasks["outcome"] = outcomes.reindex(tasks.index)
    is_priced, cost = ~tasks["is_unpriced"], tasks["cost_usd"]
    tasks = tasks.assign(
        tasks=1,
        **{
            f"{name}_tasks": tasks["outcome"] == outcome
            for name, outcome in (
                ("successful", "success"),
                ("failed", "failure"),
                ("escalated", "escalated"),
                ("unknown_outcome", "unknown"),
            )
        },
        fully_priced_tasks=is_priced,
        fully_priced_cost_usd=cost.where(is_priced, 0.0),
        fully_priced_loaded_cost_usd=tasks["fully_loaded_cost_usd"].where(is_priced, 0.0),
        known_outcome_cost_usd=cost.where(tasks["outcome"] != "unknown", 0.0),
        headline_task_cost_usd=cost.where(is_priced & tasks["headline_cost_usd"].notna(), 0.0),
        headline_cost_usd=tasks["headline_cost_usd"].where(is_priced, 0.0),
        ranked_usd=cost.where(is_priced & tasks["has_task"]),
    )
    groups = tasks.groupby(key, observed=True)
    days = groups.sum(numeric_only=True)
    percentiles = groups["ranked_usd"].quantile([0.5, 0.9, 0.99]).unstack()
    percentiles.columns = ["p50_task_cost_usd", "p90_task_cost_usd", "p99_task_cost_usd"]
    days = days.drop(columns=["ranked_usd", "has_task", "is_unpriced"]).join(percentiles)
    days["cost_per_task_usd"] = _ratio(days["fully_priced_cost_usd"], days["fully_priced_tasks"])
    days["cost_per_successful_task_usd"] = _ratio(days["known_outcome_cost_usd"], days["successful_tasks"])
    days["fully_loaded_cost_per_task_usd"] = _ratio(
        days.pop("fully_priced_loaded_cost_usd"), days["fully_priced_tasks"]
    )
    days["cost_multiple"] = _ratio(days["headline_task_cost_usd"], days["headline_cost_usd"])
    days = days.reset_index()
    days["started_date"] = days["started_date"].dt.date
    return days


def _retry_overhead_daily(attempts: pd.DataFrame, outcomes: pd.Series) -> pd.DataFrame:
    import numpy as np

    key = ["usage_date", "team", "task_type", "model"]
    role = attempts["role"].copy()
    # only what failed for good asks for the outcome
    failed = attempts.index[role == "failed"]
    outcome = outcomes.reindex(attempts.loc[failed, "task_number"])
    role.loc[failed] = np.where(outcome == "unknown", "unresolved", "abandoned")
    frame = attempts[[*key, "cost_usd"]].assign(role=role, attempts=1)
    by_role = frame.groupby([*key, "role"], observed=True)[["cost_usd", "attempts"]].sum().unstack("role", fill_value=0)
    costs = by_role["cost_usd"]
    failures = ["recovered", "abandoned", "unresolved"]
    days = costs.reindex(columns=[*failures, "superseded", "final_success"], fill_value=0.0).add_suffix("_cost_usd")
    days["attempts"] = by_role["attempts"].sum(axis=1)
    days["failed_attempts"] = by_role["attempts"].reindex(columns=failures, fill_value=0).sum(axis=1)
    days["failed_cost_usd"] = days[[f"{name}_cost_usd" for name in failures]].sum(axis=1)
    days["total_cost_usd"] = costs.sum(axis=1)
    days["overhead_ratio"] = _ratio(days["failed_cost_usd"], days["final_success_cost_usd"])
    days["amplification_ratio"] = _ratio(days["total_cost_usd"], days["final_success_cost_usd"])
    days = days.reset_index()
    days["usage_date"] = days["usage_date"].dt.date
    return days


def _gpu_utilisation_hourly(gpu_hours: pd.DataFrame) -> pd.DataFrame:
    hours = _summed(gpu_hours.assign(gpu_count=1), ["resource_id", "hour_at"], "gpu_count", "sampled")
    hours["utilisation_ratio"] = _ratio(hours["active_seconds"], hours["billed_seconds"] - hours["unknown_seconds"])
    hours["sample_coverage_ratio"] = _ratio(hours["sampled"], hours["billed_seconds"])
    return hours


def _idle_dollars_daily(gpu_hours: pd.DataFrame) -> pd.DataFrame:
    frame = gpu_hours.assign(active_without_calls_usd=gpu_hours["active_usd"] - gpu_hours["called_usd"])
    key = ["usage_date", "team", "region", "gpu_model", "purchase_mode"]
    days = _summed(frame, key, "active_without_calls_usd")
    days["idle_ratio"] = _ratio(days["idle_usd"], days["effective_cost_usd"])
    return days


def _summed(frame: pd.DataFrame, key: list[str], *others: str) -> pd.DataFrame:
    """Seconds and dollars by state, and other columns, summed by a key."""
    states = [f"{state}_{unit}" for state in STATES for unit in ("seconds", "usd")]
    sums = frame.groupby(key, as_index=False)[["room", "cost_usd", "idle_usd", *states, *others]].sum()
    return sums.rename(columns={"room": "billed_seconds", "cost_usd": "effective_cost_usd"})


def _ratio(numerator: pd.Series, denominator: pd.Series) -> pd.Series:
    return numerator / denominator.where(denominator != 0)
