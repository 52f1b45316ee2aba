"""The lake contracts: the one place that says which tables ingest writes and what their columns mean.

A contract is a table of the lake. Every format turns vendor rows into rows of one or more contracts; every dbt
staging model reads exactly one. Contracts only ever gain nullable columns, so old lake files stay readable.

Conventions that hold for every contract:

- timestamps are UTC, microseconds; dates are UTC dates; intervals are half-open ``[start, end)``;
- money and quantities are exact decimals; ratios are 0 to 1; units are in the column suffix;
- a value that the source did not report is null, never 0;
- ``source`` is the name of the configured source and ``batch_id`` the delivery that brought the row.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

STRING = pa.string()
BIGINT = pa.int64()
BOOLEAN = pa.bool_()
DOUBLE = pa.float64()
DATE = pa.date32()
TIMESTAMP = pa.timestamp("us", tz="UTC")
TOKENS = pa.decimal128(18, 0)
MONEY = pa.decimal128(38, 12)
WEIGHT = pa.decimal128(18, 6)

TOKEN_BUCKETS = (
    "uncached_input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_text_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
)
"""Disjoint token counts of one attempt: no token is in two buckets, and each bucket has one price."""

ENUMS: dict[str, tuple[str, ...]] = {
    "call_kind": ("llm", "embedding", "rerank", "retrieval", "tool", "judge", "router", "guardrail"),
    "workload_kind": ("serving", "batch", "eval", "fine_tune", "other"),
    "task_id_origin": ("task", "trace", "session", "call"),
    "status": ("success", "failed", "rejected"),
    "outcome": ("success", "escalated", "failure", "unknown"),
    "billing_period_status": ("Open", "Closed"),
    "charge_category": ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "event": ("interruption", "eviction", "restart"),
    "quote_status": ("estimate", "quote", "claim"),
}
"""Closed lists of values, by column name. A value outside its list quarantines the row."""


@dataclass(frozen=True)
class Contract:
    """One table of the lake.

    Attributes:
        name: table name, also the folder under ``lake/``.
        grain: what one row is; completes "One row per ...".
        columns: the columns in file order, each a pyarrow field.
        key: columns that identify a row within the contract; rows that share them are one row.
        required: columns that may not be null; a null quarantines the row.
        date_columns: (start, end) columns whose UTC dates a row overlaps; ``()`` for undated contracts.
        partitioned: whether files are hive-partitioned by ``usage_date`` (the date of the start column).
        non_negative: columns in which a negative number quarantines the row.
        positive: columns in which 0 does so too.
    """

    name: str
    grain: str
    columns: tuple[pa.Field, ...]
    key: tuple[str, ...]
    required: tuple[str, ...]
    date_columns: tuple[str, ...] = ()
    partitioned: bool = False
    non_negative: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """The full file schema: the contract's columns, then ``batch_id`` (and ``usage_date`` where partitioned)."""
        provenance = [pa.field("batch_id", STRING)]
        if self.partitioned:
            provenance.append(pa.field("usage_date", DATE))
        return pa.schema([*self.columns, *provenance])

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns a format or mapping may fill, in file order."""
        return tuple(field.name for field in self.columns)

    def type_of(self, column: str) -> pa.DataType:
        """Return the Arrow type of ``column``; raises KeyError for a column the contract does not have."""
        for field in self.columns:
            if field.name == column:
                return field.type
        raise KeyError(column)


def _fields(**types: pa.DataType) -> tuple[pa.Field, ...]:
    return tuple(pa.field(name, type_) for name, type_ in types.items())


_COUNTS = dict.fromkeys(TOKEN_BUCKETS, TOKENS)
_OTHER_UNITS = {
    "image_count": TOKENS,
    "web_search_count": TOKENS,
    "audio_seconds": WEIGHT,
    "character_count": TOKENS,
}

LLM_CALLS = Contract(
    name="llm_calls",
    grain="attempt of one call",
    columns=_fields(
        source=STRING,
        call_id=STRING,
        attempt_number=BIGINT,
        # Whether the log says which attempt it is; a log that does not has 1 everywhere.
        is_attempt_told=BOOLEAN,
        parent_call_id=STRING,
        response_id=STRING,
        trace_id=STRING,
        span_id=STRING,
        task_id=STRING,
        task_id_origin=STRING,
        task_type=STRING,
        step_name=STRING,
        step_index=BIGINT,
        call_kind=STRING,
        workload_kind=STRING,
        started_at=TIMESTAMP,
        first_token_at=TIMESTAMP,
        ended_at=TIMESTAMP,
        provider=STRING,
        model=STRING,
        service_tier=STRING,
        region=STRING,
        deployment_id=STRING,
        api_base=STRING,
        replica_id=STRING,
        team=STRING,
        application=STRING,
        customer=STRING,
        environment=STRING,
        prompt_version=STRING,
        release=STRING,
        experiment=STRING,
        sample_weight=WEIGHT,
        **_COUNTS,
        **_OTHER_UNITS,
        tool_call_count=BIGINT,
        # What a tool, retrieval or guardrail call called, where that is no model.
        tool_name=STRING,
        # Usage that no column takes, as a JSON object of the vendor's key and its count.
        unmapped_usage=STRING,
        status=STRING,
        error_type=STRING,
        # The label that an application puts on a retry: why the attempt before this one was rejected.
        retry_reason=STRING,
        response_cache_hit=BOOLEAN,
        reported_cost=MONEY,
        reported_currency=STRING,
        prompt_hash=STRING,
        prefix_hash=STRING,
        prefix_tokens=TOKENS,
        context_tokens=TOKENS,
        temperature=DOUBLE,
        router_confidence=DOUBLE,
        tags=STRING,
    ),
    key=("source", "call_id", "attempt_number"),
    required=("source", "call_id", "attempt_number", "started_at", "status"),
    date_columns=("started_at", "started_at"),
    partitioned=True,
    non_negative=(
        *TOKEN_BUCKETS,
        *_OTHER_UNITS,
        "prefix_tokens",
        "context_tokens",
        "tool_call_count",
        "reported_cost",
    ),
    positive=("sample_weight",),
)

TASKS = Contract(
    name="tasks",
    grain="task and delivery; staging merges the deliveries by newest non-null value",
    columns=_fields(
        source=STRING,
        task_id=STRING,
        task_type=STRING,
        team=STRING,
        application=STRING,
        customer=STRING,
        environment=STRING,
        outcome=STRING,
        closed_at=TIMESTAMP,
        complexity=STRING,
        quality_score=DOUBLE,
        value=MONEY,
        value_currency=STRING,
    ),
    key=("task_id",),
    required=("source", "task_id"),
)

BILL_LINES = Contract(
    name="bill_lines",
    grain="line of a cloud or GPU bill (FOCUS names)",
    columns=_fields(
        source=STRING,
        line_id=STRING,
        billed_cost=MONEY,
        effective_cost=MONEY,
        list_cost=MONEY,
        contracted_cost=MONEY,
        list_unit_price=MONEY,
        contracted_unit_price=MONEY,
        billing_currency=STRING,
        pricing_currency=STRING,
        pricing_currency_effective_cost=MONEY,
        pricing_currency_list_unit_price=MONEY,
        pricing_currency_contracted_unit_price=MONEY,
        charge_period_start=TIMESTAMP,
        charge_period_end=TIMESTAMP,
        billing_period_start=TIMESTAMP,
        billing_period_end=TIMESTAMP,
        # Open while the vendor may still change the period's lines, Closed once it is invoiced.
        billing_period_status=STRING,
        charge_category=STRING,
        charge_class=STRING,
        charge_description=STRING,
        charge_frequency=STRING,
        consumed_quantity=MONEY,
        consumed_unit=STRING,
        pricing_quantity=MONEY,
        pricing_unit=STRING,
        pricing_category=STRING,
        commitment_discount_id=STRING,
        commitment_discount_name=STRING,
        commitment_discount_type=STRING,
        commitment_discount_category=STRING,
        commitment_discount_status=STRING,
        commitment_discount_quantity=MONEY,
        commitment_discount_unit=STRING,
        capacity_reservation_id=STRING,
        capacity_reservation_status=STRING,
        resource_id=STRING,
        resource_name=STRING,
        resource_type=STRING,
        region_id=STRING,
        region_name=STRING,
        availability_zone=STRING,
        sku_id=STRING,
        sku_price_id=STRING,
        sku_meter=STRING,
        sku_price_details=STRING,
        service_category=STRING,
        service_subcategory=STRING,
        service_name=STRING,
        provider_name=STRING,
        publisher_name=STRING,
        invoice_issuer_name=STRING,
        invoice_id=STRING,
        billing_account_id=STRING,
        billing_account_name=STRING,
        billing_account_type=STRING,
        sub_account_id=STRING,
        sub_account_name=STRING,
        sub_account_type=STRING,
        tags=STRING,
        instance_type=STRING,
        gpu_model=STRING,
        gpu_count=BIGINT,
        purchase_mode=STRING,
        # How many units of the billing currency the bill itself counts for one USD.
        billing_units_per_usd=MONEY,
        # The vendor's own columns that no other column takes, as a JSON object of name and text.
        vendor_columns=STRING,
    ),
    key=("source", "line_id"),
    required=(
        "source",
        "line_id",
        "billed_cost",
        "billing_currency",
        "charge_period_start",
        "charge_period_end",
        "billing_period_start",
        "charge_category",
    ),
    date_columns=("charge_period_start", "charge_period_end"),
)

GPU_SAMPLES = Contract(
    name="gpu_samples",
    grain="GPU and sample time; staging merges the metrics of one moment",
    columns=_fields(
        source=STRING,
        gpu_uuid=STRING,
        hostname=STRING,
        sampled_at=TIMESTAMP,
        interval_seconds=WEIGHT,
        gpu_model=STRING,
        gpu_util=DOUBLE,
        gr_engine_active=DOUBLE,
        sm_active=DOUBLE,
        tensor_active=DOUBLE,
        dram_active=DOUBLE,
        fb_used_bytes=BIGINT,
        power_watts=DOUBLE,
        namespace=STRING,
        pod=STRING,
        mig_profile=STRING,
    ),
    key=("gpu_uuid", "sampled_at"),
    required=("source", "gpu_uuid", "sampled_at", "interval_seconds"),
    date_columns=("sampled_at", "sampled_at"),
    partitioned=True,
    non_negative=("interval_seconds", "fb_used_bytes", "power_watts"),
)

SERVING_SAMPLES = Contract(
    name="serving_samples",
    grain="serving replica and sample time, as its server counts; staging merges the metrics of one moment",
    columns=_fields(
        source=STRING,
        # The server's pod, else host and port of its scrape; a further engine of it has its number behind a slash.
        replica_id=STRING,
        deployment_id=STRING,
        model=STRING,
        sampled_at=TIMESTAMP,
        interval_seconds=WEIGHT,
        namespace=STRING,
        pod=STRING,
        running_request_count=DOUBLE,
        waiting_request_count=DOUBLE,
        kv_cache_usage=DOUBLE,
        # Counters since the server's start: they fall back to 0 when it starts again.
        input_tokens_total=TOKENS,
        output_tokens_total=TOKENS,
        prefix_cache_query_tokens_total=TOKENS,
        prefix_cache_hit_tokens_total=TOKENS,
        preemption_count_total=TOKENS,
    ),
    key=("replica_id", "model", "sampled_at"),
    required=("source", "replica_id", "sampled_at", "interval_seconds"),
    date_columns=("sampled_at", "sampled_at"),
    partitioned=True,
    non_negative=(
        "interval_seconds",
        "running_request_count",
        "waiting_request_count",
        "kv_cache_usage",
        "input_tokens_total",
        "output_tokens_total",
        "prefix_cache_query_tokens_total",
        "prefix_cache_hit_tokens_total",
        "preemption_count_total",
    ),
)

REPLICA_WINDOWS = Contract(
    name="replica_windows",
    grain="serving replica and span of time in which it held its model loaded",
    columns=_fields(
        source=STRING,
        replica_id=STRING,
        deployment_id=STRING,
        model=STRING,
        precision=STRING,
        resource_id=STRING,
        gpu_uuid=STRING,
        gpu_count=BIGINT,
        loaded_at=TIMESTAMP,
        unloaded_at=TIMESTAMP,
    ),
    key=("replica_id", "gpu_uuid", "loaded_at"),
    required=("source", "replica_id", "loaded_at"),
    date_columns=("loaded_at", "unloaded_at"),
)

RESOURCE_LINKS = Contract(
    name="resource_links",
    grain="identity pair and span of time in which it holds",
    columns=_fields(
        source=STRING,
        hostname=STRING,
        node_name=STRING,
        gpu_uuid=STRING,
        resource_id=STRING,
        deployment_id=STRING,
        api_base=STRING,
        valid_from=TIMESTAMP,
        valid_to=TIMESTAMP,
    ),
    key=("hostname", "node_name", "gpu_uuid", "resource_id", "deployment_id", "api_base", "valid_from"),
    required=("source",),
    date_columns=("valid_from", "valid_to"),
)

GPU_EVENTS = Contract(
    name="gpu_events",
    grain="interruption, eviction or restart",
    columns=_fields(
        source=STRING,
        resource_id=STRING,
        replica_id=STRING,
        event=STRING,
        at=TIMESTAMP,
        origin=STRING,
    ),
    key=("resource_id", "replica_id", "event", "at"),
    required=("source", "event", "at"),
    date_columns=("at", "at"),
)

VENDOR_COSTS = Contract(
    name="vendor_costs",
    grain="line of a model vendor's own cost report and delivery; staging keeps the newest report of each day",
    columns=_fields(
        source=STRING,
        line_id=STRING,
        provider=STRING,
        cost_date=DATE,
        model=STRING,
        line_item=STRING,
        cost_type=STRING,
        token_type=STRING,
        service_tier=STRING,
        context_tier=STRING,
        amount=MONEY,
        currency=STRING,
        project_id=STRING,
    ),
    key=("source", "line_id"),
    required=("source", "line_id", "provider", "cost_date", "amount", "currency"),
    date_columns=("cost_date", "cost_date"),
)

VENDOR_USAGE = Contract(
    name="vendor_usage",
    grain="line of a model vendor's own usage report and delivery; staging keeps the newest report of each day",
    columns=_fields(
        source=STRING,
        line_id=STRING,
        provider=STRING,
        started_at=TIMESTAMP,
        ended_at=TIMESTAMP,
        model=STRING,
        service_tier=STRING,
        context_tier=STRING,
        project_id=STRING,
        request_count=TOKENS,
        **_COUNTS,
        **_OTHER_UNITS,
    ),
    key=("source", "line_id"),
    required=("source", "line_id", "provider", "started_at", "ended_at"),
    date_columns=("started_at", "started_at"),
    non_negative=("request_count", *TOKEN_BUCKETS, *_OTHER_UNITS),
)

EVAL_RESULTS = Contract(
    name="eval_results",
    grain="eval item and variant",
    columns=_fields(
        source=STRING,
        eval_run_id=STRING,
        task_type=STRING,
        item_id=STRING,
        cluster_id=STRING,
        variant=STRING,
        model=STRING,
        precision=STRING,
        is_correct=BOOLEAN,
        score=DOUBLE,
        confidence=DOUBLE,
        cost=MONEY,
        currency=STRING,
    ),
    key=("eval_run_id", "item_id", "variant"),
    required=("source", "eval_run_id", "item_id", "variant"),
)

MODEL_PRICES = Contract(
    name="model_prices",
    grain="observed price of a model component",
    columns=_fields(
        source=STRING,
        provider=STRING,
        model=STRING,
        region=STRING,
        service_tier=STRING,
        context_above_tokens=BIGINT,
        component=STRING,
        unit=STRING,
        usd_per_million=MONEY,
        effective_from=TIMESTAMP,
        observed_at=TIMESTAMP,
        origin=STRING,
    ),
    key=(
        "provider",
        "model",
        "region",
        "service_tier",
        "context_above_tokens",
        "component",
        "effective_from",
        "observed_at",
    ),
    # A list of prices may name models only: whose they are is then worked out by the warehouse.
    required=("source", "model", "component", "usd_per_million", "observed_at", "origin"),
    date_columns=("observed_at", "observed_at"),
    non_negative=("context_above_tokens", "usd_per_million"),
)

GPU_QUOTES = Contract(
    name="gpu_quotes",
    grain="observed price of a GPU",
    columns=_fields(
        source=STRING,
        gpu_model=STRING,
        provider=STRING,
        region=STRING,
        purchase_mode=STRING,
        low_usd_per_gpu_hour=MONEY,
        high_usd_per_gpu_hour=MONEY,
        term=STRING,
        quote_status=STRING,
        best_for=STRING,
        seen_at=TIMESTAMP,
        origin=STRING,
    ),
    key=("gpu_model", "provider", "region", "purchase_mode", "term", "seen_at", "origin"),
    required=("source", "gpu_model", "provider", "purchase_mode", "low_usd_per_gpu_hour", "seen_at", "origin"),
    non_negative=("low_usd_per_gpu_hour", "high_usd_per_gpu_hour"),
)

FX_RATES = Contract(
    name="fx_rates",
    grain="published exchange rate of a day and currency pair: 1 base = rate quote",
    columns=_fields(
        source=STRING,
        rate_date=DATE,
        base=STRING,
        quote=STRING,
        rate=MONEY,
        origin=STRING,
    ),
    key=("rate_date", "base", "quote"),
    required=("source", "rate_date", "base", "quote", "rate", "origin"),
    date_columns=("rate_date", "rate_date"),
    non_negative=("rate",),
)

QUARANTINED_ROWS = Contract(
    name="quarantined_rows",
    grain="row that ingest could not load; never its text",
    columns=_fields(
        source=STRING,
        format=STRING,
        contract=STRING,
        file_name=STRING,
        line_number=BIGINT,
        column_name=STRING,
        reason=STRING,
        row_length=BIGINT,
        row_hash=STRING,
    ),
    key=("batch_id", "file_name", "line_number", "row_hash"),
    required=("source", "contract", "file_name", "reason"),
)

CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        LLM_CALLS,
        TASKS,
        BILL_LINES,
        GPU_SAMPLES,
        SERVING_SAMPLES,
        REPLICA_WINDOWS,
        RESOURCE_LINKS,
        GPU_EVENTS,
        VENDOR_COSTS,
        VENDOR_USAGE,
        EVAL_RESULTS,
        MODEL_PRICES,
        GPU_QUOTES,
        FX_RATES,
        QUARANTINED_ROWS,
    )
}
"""All contracts by name, in the order in which the lake lists them."""
