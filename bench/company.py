"""The company of the benchmark: any number of calls, some GPU servers, and their bill.

``generate`` writes a home with its landing files, the same ones for the same arguments. Every day is made by itself and
streamed to its files, so that memory does not grow with the number of days.

What the company is: four teams with five task types each. A task is a chain of 1 to 12 calls (5 on average); about 6 of
100 attempts fail, are rejected, or are asked again, and 1 of 100 calls carries no labels. Six metered models, whose
prices did not change, answer four calls of five; a replica on one of the company's machines (8 GPUs each) the others.
Each machine is one replica that is unloaded for two hours a night; GPUs are sampled each minute, with gaps. Most work
is done in office hours, a few tasks and calls last over midnight. Nothing is broken and nothing comes twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

FIRST_DAY = date(2026, 1, 1)
CALLS_A_MACHINE_AND_MONTH = 1_250_000
GPUS_EACH = 8
MEMORY_LIMIT = "3GB"

TEAMS = ("support", "fraud", "search", "research")
TASK_TYPES = {
    "support": ("route_ticket", "answer_question", "resolve_ticket", "handle_refund", "investigate_outage"),
    "fraud": ("score_payment", "check_identity", "review_alert", "write_report", "investigate_ring"),
    "search": ("rewrite_query", "answer_search", "compare_offers", "plan_trip", "build_catalogue"),
    "research": ("label_paper", "summarise_paper", "extract_tables", "review_topic", "agent_study"),
}
"""Per team, its task types from the shortest chains of calls to the longest."""

CHAINS = (1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 12)
"""Calls of the tasks that follow each other, again and again; their kinds are below."""
_KIND_OF_LENGTH = {1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 4, 7: 4, 8: 4, 9: 5, 12: 5}
_EVEN_NIGHT, _ODD_NIGHT = 7, 8
"""The places in ``CHAINS`` of the tasks that last over the night after an even or an odd day, in one round of 20."""

MODELS = (
    # provider, model, share of the metered calls up to here (of 100), input and output USD per million tokens
    ("openai", "gpt-5-mini", 35, 0.25, 2.0),
    ("openai", "gpt-4.1-mini", 60, 0.4, 1.6),
    ("openai", "gpt-4o-mini", 75, 0.15, 0.6),
    ("anthropic", "claude-haiku-4-5", 88, 1.0, 5.0),
    ("openai", "gpt-4.1", 96, 2.0, 8.0),
    ("anthropic", "claude-opus-4-5", 100, 5.0, 25.0),
)
OWN_MODEL = ("hosted_vllm", "llama")

CONFIGURATION = """\
# The company of the benchmark: a gateway's log, the outcomes of its tasks, GPU servers and their bill.
sources:
  gateway: {path: landing/gateway, format: litellm_spend_logs}
  outcomes: {path: landing/outcomes, format: tasks}
  bill: {path: landing/bill, format: focus}
  telemetry: {path: landing/telemetry, format: mapping, mapping: mappings/telemetry.yml}
  windows: {path: landing/windows, format: mapping, mapping: mappings/windows.yml}
  links: {path: landing/links, format: resource_links}
"""
MAPPINGS = {
    "telemetry": """\
contract: gpu_samples
format: csv
columns:
  gpu_uuid: gpu
  hostname: host
  sampled_at: sampled_at
  interval_seconds: interval
  gr_engine_active: gr_engine_active
  sm_active: sm_active
  dram_active: dram_active
  fb_used_bytes: fb_used_bytes
  power_watts: power_watts
  pod: pod
""",
    "windows": """\
contract: replica_windows
format: csv
columns: {replica_id: replica, model: model, resource_id: machine, loaded_at: loaded_at, unloaded_at: unloaded_at}
""",
}


@dataclass(frozen=True)
class Company:
    """How large the company is.

    Attributes:
        calls_a_day: lines of a day's gateway log.
        machines: GPU servers, each with ``GPUS_EACH`` GPUs and one replica.
    """

    calls_a_day: int
    machines: int

    @classmethod
    def of(cls, calls: int, days: int) -> Company:
        """The company that makes so many calls in so many days."""
        return cls(calls // days, max(1, calls * 30 // days // CALLS_A_MACHINE_AND_MONTH))


def generate(home: Path, *, calls: int, days: int, first: date = FIRST_DAY) -> None:
    """Write a home: configuration, company files and the landing files of ``days`` days.

    Args:
        home: the folder to write to; made if it is not there.
        calls: lines of the gateway's log, shared evenly among the days.
        days: number of days.
        first: the first day (UTC).
    """
    company = Company.of(calls, days)
    for name, text in {"pertask.yml": CONFIGURATION, "company/owners.csv": _owners()}.items():
        _write(home / name, text)
    for name, text in MAPPINGS.items():
        _write(home / "mappings" / f"{name}.yml", text)
    last = first + timedelta(days - 1)
    with _connect(home, company) as connection:
        for day in _days(first, last):
            _write_day(connection, home, company, day, is_last=day == last)
        _write_windows(connection, home / "landing/windows/windows.csv", first, last)
        _write_links(connection, home / "landing/links/links.csv")
        for month in sorted({day.replace(day=1) for day in _days(first, last)}):
            _write_bill(connection, home, month, first, last)


def add_day(home: Path, company: Company, day: date, *, first: date = FIRST_DAY) -> None:
    """Write what lands on the morning after one more day: its files, and the month's bill up to it.

    Args:
        home: a home that ``generate`` wrote.
        company: the company that it was written for.
        day: the day after its last one.
        first: the home's first day.
    """
    with _connect(home, company) as connection:
        _write_day(connection, home, company, day, is_last=True)
        _write_windows(connection, home / f"landing/windows/{day}.csv", day, day)
        _write_bill(connection, home, day.replace(day=1), first, day)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(number) for number in range((last - first).days + 1))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _owners() -> str:
    rows = "".join(f"tag:team,{team},{team},,,\n" for team in TEAMS)
    return f"match_on,match_value,team,service,valid_from,valid_to\n{rows}"


def _connect(home: Path, company: Company) -> duckdb.DuckDBPyConnection:
    """A database in memory with the company's machines and what the queries draw with."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(home / "spill")})
    teams = ", ".join(f"'{team}'" for team in TEAMS)
    connection.execute(f"""
        set enable_progress_bar = false;
        -- a number from 0 to below 1 that belongs to a key and a purpose
        -- (hashed twice: the hashes of one key and two purposes differ by what the purposes differ)
        create macro draw(key, purpose) as (hash(hash(key, purpose)) >> 11) / 9007199254740992.0;
        -- a number of the normal distribution
        create macro draw_normal(key, purpose) as
            sqrt(-2 * ln(1 - draw(key, purpose))) * cos({2 * math.pi} * draw(key, purpose || '_angle'));
        create macro moment(instant) as strftime(instant, '%Y-%m-%dT%H:%M:%SZ');
        create macro clock(instant) as strftime(instant, '%Y-%m-%dT%H:%M:%S.%g');
        create table machines as
        select
            machine,
            'replica-' || machine as replica_id,
            printf('i-%017x', 4096 + machine) as resource_id,
            'gpu-host-' || machine as hostname,
            [{teams}][1 + machine % {len(TEAMS)}] as team,
            machine % 4 = 3 as is_spot,
            -- unloaded for two hours of each night
            60 + 30 * (machine % 4) as unloaded_minute,
            60 + 30 * (machine % 4) + 120 as loaded_minute
        from range({company.machines}) as numbers (machine);
        create table gpus as
        select machines.*, gpu, printf('GPU-%08x-%02d', 4096 + machine, gpu) as gpu_uuid
        from machines, range({GPUS_EACH}) as numbers (gpu);
    """)
    return connection


def _write_day(
    connection: duckdb.DuckDBPyConnection, home: Path, company: Company, day: date, *, is_last: bool
) -> None:
    """Write the gateway's log, the outcomes and the telemetry of a day."""
    connection.execute(f"create or replace temp table calls as {_calls(company, day, is_last=is_last)}")
    for folder, suffix, query, options in (
        ("gateway", "jsonl", _LOG_LINES, "format csv, header false, quote '', escape '', delimiter '\x01'"),
        ("outcomes", "jsonl", _outcomes(day), "format json"),
        ("telemetry", "csv", _samples(day), "format csv"),
    ):
        path = home / f"landing/{folder}/{day}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(f"copy ({query}) to '{path}' ({options})")


def _listed(values: list[object]) -> str:
    return f"[{', '.join(repr(value) for value in values)}]"


def _calls(company: Company, day: date, *, is_last: bool) -> str:
    """SQL of a day's calls, one row per line of the log."""
    rows = [(place, position, length) for place, length in enumerate(CHAINS, 1) for position in range(1, length + 1)]
    places, positions, lengths = ([row[part] for row in rows] for part in range(3))
    number = (day - date(1970, 1, 1)).days
    evening, morning = (_EVEN_NIGHT, _ODD_NIGHT) if number % 2 == 0 else (_ODD_NIGHT, _EVEN_NIGHT)
    kinds = [_KIND_OF_LENGTH.get(length, 0) for length in range(1, max(CHAINS) + 1)]
    types = ", ".join(f"[{', '.join(repr(name) for name in names)}]" for names in TASK_TYPES.values())
    metered = " ".join(
        f"when model_draw < {upto / 100} then {place}" for place, (_, _, upto, *_) in enumerate(MODELS, 1)
    )
    columns = [
        [*(model[part] for model in MODELS), own]
        for part, own in ((0, OWN_MODEL[0]), (1, OWN_MODEL[1]), (3, 0.0), (4, 0.0))
    ]
    providers, models, input_prices, output_prices = (_listed(column) for column in columns)
    # no call lasts into a day that has no bill and no telemetry yet
    end = f"least(ended, timestamp '{day + timedelta(1)}')" if is_last else "ended"
    return f"""
        with placed as (
            select
                {number} * 100000000::bigint + row as call_number,
                row // {len(rows)} as round,
                {_listed(places)}[1 + row % {len(rows)}] as place,
                {_listed(positions)}[1 + row % {len(rows)}] as position,
                {_listed(lengths)}[1 + row % {len(rows)}] as length
            from range({company.calls_a_day}) as numbers (row)
        ),
        chained as (
            select
                *,
                round % 20 = 0 and place = {evening} as is_evening,
                round % 20 = 0 and place = {morning} as is_morning,
                ({number} - (round % 20 = 0 and place = {morning})::integer) * 10000000::bigint
                    + round * {len(CHAINS)} + place as task_number,
                {_listed(kinds)}[length] as kind,
                draw(call_number, 'fault') < case when position = length then 0.012 else 0.074 end as is_faulty,
                case
                    when position = length or draw(call_number, 'kind of fault') < 0.45 then 'failed'
                    when draw(call_number, 'kind of fault') < 0.9 then 'rejected'
                    else 'superseded'
                end as fault
            from placed
        ),
        following as (
            select
                *,
                coalesce(lag(is_faulty) over chain, false) as is_retry,
                lag(case when is_faulty then fault end) over chain as fault_before
            from chained
            window chain as (partition by task_number order by position)
        ),
        stepped as (
            select
                *,
                sum((not is_retry)::integer) over chain + case when is_morning then 20 else 0 end as step_index,
                max(case when not is_retry then position end) over chain as step_position
            from following
            window chain as (partition by task_number order by position)
        ),
        sized as (
            select
                *,
                call_number - position + step_position as step_number,
                1 + position - step_position as attempt_number,
                1 + (draw(task_number, 'team') >= 0.4)::integer + (draw(task_number, 'team') >= 0.7)::integer
                    + (draw(task_number, 'team') >= 0.9)::integer as team_place,
                least(150000, 20 + round(
                    [500, 1100, 2200, 3600, 6000][kind] * (1 + 0.12 * position) * (0.7 + 0.3 * team_place)
                    * exp(0.6 * draw_normal(step_number, 'input'))
                ))::bigint as input_tokens,
                case when is_faulty and fault = 'failed' then 0 else least(16000, 5 + round(
                    [30, 180, 300, 420, 600][kind] * exp(0.8 * draw_normal(call_number, 'output'))
                ))::bigint end as output_tokens
            from stepped
        ),
        lasting as (
            select
                *,
                -- milliseconds: a failure is noticed late, a few answers are very long
                case
                    when is_faulty and fault = 'failed' then 30000
                    when draw(call_number, 'long') < 0.0005 then 60000 + 540000 * draw(call_number, 'length')
                    else 400 + 12 * output_tokens + 1500 * draw(call_number, 'length')
                end::bigint as lasted,
                (200 + 20000 * draw(call_number, 'pause') ** 3)::bigint as paused
            from sized
        ),
        timed as (
            select
                *,
                sum(lasted + paused) over (partition by task_number order by position) - lasted - paused as passed,
                sum(lasted + paused) over (partition by task_number) as chain_lasts
            from lasting
        ),
        started as (
            select
                *,
                timestamp '{day}' + to_milliseconds(passed::bigint + case
                    when is_morning then 1000000 * draw(task_number, 'start')
                    when is_evening then greatest(86399000 - chain_lasts - 40000 * draw(task_number, 'start'), 0)
                    when draw(task_number, 'office hours') < 0.25
                        then (86399000 - chain_lasts) * draw(task_number, 'start')
                    else 3600000 * (6.5 + 13 * (
                        draw(task_number, 'start') + draw(task_number, 'second') + draw(task_number, 'third')) / 3)
                end::bigint) as started
            from timed
        ),
        answered as (
            select
                started.*,
                draw(step_number, 'model') as model_draw,
                60 * extract(hour from started) + extract(minute from started) as minute,
                -- nothing is sent to a replica that is about to be unloaded
                draw(step_number, 'own') < 0.205
                    and (minute < machines.unloaded_minute - 15 or minute >= machines.loaded_minute) as is_own,
                machines.replica_id as drawn_replica_id
            from started
            inner join machines
                on machines.machine = floor({company.machines} * draw(step_number, 'machine'))::bigint
        ),
        modelled as (
            select
                *,
                case when is_own then {len(MODELS) + 1} else case {metered} end end as model_place,
                {providers}[model_place] as provider,
                {models}[model_place] as model,
                started + to_milliseconds(lasted) as ended
            from answered
        )
        select
            call_number,
            't-' || task_number as task_id,
            [{", ".join(repr(team) for team in TEAMS)}][team_place] as team,
            [{types}][team_place][kind] as task_type,
            ['answer', 'plan', 'search', 'read', 'check'][1 + (step_index % 5)::bigint] as step_name,
            step_index::bigint as step_index,
            attempt_number,
            case
                when fault_before = 'rejected'
                    then ['schema_invalid', 'failed_check', 'truncated'][1 + (hash(call_number) % 3)::bigint]
            end as retry_reason,
            is_faulty and fault = 'failed' as is_failure,
            case
                when not (is_faulty and fault = 'failed') then null
                when draw(call_number, 'error') < 0.5 then 'Timeout'
                when draw(call_number, 'error') < 0.8 then 'RateLimitError'
                else 'InternalServerError'
            end as error_class,
            not is_own and draw(call_number, 'labels') < 0.0125 as is_unlabelled,
            is_evening,
            provider,
            model,
            case when is_own then drawn_replica_id end as replica_id,
            case when error_class = 'RateLimitError' then 0 else input_tokens end as input_tokens,
            output_tokens,
            case
                when error_class is null and not is_own and position > 1 and draw(call_number, 'cache') < 0.5
                    then 128 * floor(input_tokens * (0.4 + 0.5 * draw(call_number, 'cached')) / 128)::bigint
                else 0
            end as cached_tokens,
            case
                when error_class is null and provider = 'anthropic' and draw(call_number, 'write') < 0.2
                    then (input_tokens - cached_tokens) // 2
                else 0
            end as written_tokens,
            case when model = 'gpt-5-mini' then output_tokens * 2 // 5 else 0 end as reasoning_tokens,
            round(case when error_class is null then
                input_tokens * {input_prices}[model_place] + output_tokens * {output_prices}[model_place]
            else 0 end / 1e6, 8) as spend,
            started,
            started + to_milliseconds(least(lasted, 200 + lasted // 10)) as first_token,
            {end} as ended
        from modelled
        order by started, call_number"""


_LOG_LINES = """
    with records as (
        select
            'chatcmpl-' || call_number as request_id,
            'acompletion' as call_type,
            spend,
            input_tokens as prompt_tokens,
            output_tokens as completion_tokens,
            clock(started) as "startTime",
            clock(ended) as "endTime",
            clock(case when draw(call_number, 'stream') < 0.4 then first_token end) as "completionStartTime",
            case when provider = 'hosted_vllm' then 'hosted_vllm/' || model else model end as model,
            provider as custom_llm_provider,
            team as team_id,
            case when is_failure then 'failure' else 'success' end as status,
            {
                'error_information': case when is_failure then {'error_class': error_class} end,
                'spend_logs_metadata': case when not is_unlabelled then {
                    'task_id': task_id,
                    'task_type': task_type,
                    'step_name': step_name,
                    'step_index': step_index,
                    'attempt_number': attempt_number,
                    'retry_reason': retry_reason,
                    'replica_id': replica_id
                } end,
                'usage_object': {
                    'cache_creation_input_tokens': nullif(written_tokens, 0),
                    'prompt_tokens_details': {'cached_tokens': cached_tokens},
                    'completion_tokens_details':
                        case when reasoning_tokens > 0 then {'reasoning_tokens': reasoning_tokens} end
                }
            } as metadata
        from calls
        order by started, call_number
    )
    -- keys without a value are left out
    select replace(regexp_replace(to_json(records)::varchar, '"[A-Za-z_]+":null,?', '', 'g'), ',}', '}') as line
    from records"""


def _outcomes(day: date) -> str:
    """SQL of what became of the tasks that ended on a day; of one in ten nobody says."""
    return f"""
        select
            task_id,
            case
                when draw(task_id, 'outcome') < 0.86 then 'success'
                when draw(task_id, 'outcome') < 0.94 then 'failure'
                else 'escalated'
            end as outcome,
            moment(least(max(ended) + interval 1 minute, timestamp '{day} 23:59:59')) as closed_at
        from calls
        where not is_evening and not is_unlabelled and draw(task_id, 'told') < 0.9
        group by task_id
        order by task_id"""


def _samples(day: date) -> str:
    """SQL of one row per GPU and minute; one in a hundred is missing."""
    return f"""
        select
            gpu_uuid as gpu,
            hostname as host,
            moment(timestamp '{day}' + to_minutes(minute::integer)) as sampled_at,
            60 as interval,
            activity as gr_engine_active,
            round(activity * (0.6 + 0.3 * draw(sample, 'sm')), 3) as sm_active,
            round(activity * (0.3 + 0.3 * draw(sample, 'dram')), 3) as dram_active,
            case when is_loaded then 68000000000 + gpu * 1000000 else 600000000 end as fb_used_bytes,
            round(90 + 560 * activity + 20 * draw(sample, 'power'), 1) as power_watts,
            case when is_loaded then 'llama-' || machine end as pod
        from (
            select
                gpus.*,
                minute,
                gpu_uuid || ' {day} ' || minute as sample,
                minute < unloaded_minute or minute >= loaded_minute as is_loaded,
                (0.1 + 0.6 * exp(-1 * ((minute - 780) / 240.0) ** 2)) * (0.5 + draw(sample, 'activity')) as wish,
                case when is_loaded then round(least(1, wish), 3) else 0 end as activity
            from range(1440) as minutes (minute), gpus
        )
        where draw(sample, 'gap') >= 0.01
        order by minute, machine, gpu"""


def _write_windows(connection: duckdb.DuckDBPyConnection, path: Path, first: date, last: date) -> None:
    """Write when each machine's replica was loaded: from midnight to its rest, and from then to midnight."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"""
        copy (
            select
                replica_id as replica,
                '{OWN_MODEL[1]}' as model,
                resource_id as machine,
                moment(day + to_minutes(unnest([0, loaded_minute])::integer)) as loaded_at,
                moment(day + to_minutes(unnest([unloaded_minute, 1440])::integer)) as unloaded_at
            from
                range(timestamp '{first}', timestamp '{last}' + interval 1 second, interval 1 day) as days (day),
                machines
            order by loaded_at, machine
        ) to '{path}' (format csv)""")


def _write_links(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(
        f"copy (select hostname, gpu_uuid, resource_id from gpus order by machine, gpu) to '{path}' (format csv)"
    )


def _write_bill(connection: duckdb.DuckDBPyConnection, home: Path, month: date, first: date, last: date) -> None:
    """Write a month's bill as far as it has come: a line per machine and hour, and the tax on its first day."""
    path = home / f"landing/bill/{month:%Y-%m}/part.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    next_month = (month + timedelta(days=32)).replace(day=1)
    start, end = max(first, month), min(last + timedelta(1), next_month)
    shared = f"""
        'USD' as "BillingCurrency",
        '{month}T00:00:00Z' as "BillingPeriodStart",
        '{next_month}T00:00:00Z' as "BillingPeriodEnd",
        '100000000001' as "BillingAccountId",
        'AWS' as "ProviderName",
        'AWS' as "PublisherName",
        'Amazon Web Services' as "InvoiceIssuerName\""""
    connection.execute(f"""
        copy (
            select
                case when is_spot then '39.328' else '98.32' end as "BilledCost",
                case when is_spot then '39.328' else '98.32' end as "EffectiveCost",
                '98.32' as "ListCost",
                moment(hour) as "ChargePeriodStart",
                moment(hour + interval 1 hour) as "ChargePeriodEnd",
                'Usage' as "ChargeCategory",
                'p5.48xlarge' || case when is_spot then ' spot' else '' end as "ChargeDescription",
                case when is_spot then 'Dynamic' else 'Standard' end as "PricingCategory",
                '1' as "ConsumedQuantity",
                'Hours' as "ConsumedUnit",
                '1' as "PricingQuantity",
                'Hours' as "PricingUnit",
                resource_id as "ResourceId",
                'Instance' as "ResourceType",
                'us-east-1' as "RegionId",
                'p5.48xlarge' as "SkuId",
                '{{"InstanceType": "p5.48xlarge", "GpuCount": {GPUS_EACH}}}' as "SkuPriceDetails",
                'Compute' as "ServiceCategory",
                'Amazon Elastic Compute Cloud' as "ServiceName",
                '{{"team": "' || team || '"}}' as "Tags",
                {shared}
            from range(timestamp '{start}', timestamp '{end}', interval 1 hour) as hours (hour), machines
            union all by name
            select
                cast(500 * count(*) as varchar) as "BilledCost",
                cast(500 * count(*) as varchar) as "EffectiveCost",
                cast(500 * count(*) as varchar) as "ListCost",
                '{month}T00:00:00Z' as "ChargePeriodStart",
                '{month + timedelta(1)}T00:00:00Z' as "ChargePeriodEnd",
                'Tax' as "ChargeCategory",
                'Tax on the month before' as "ChargeDescription",
                {shared}
            from machines
            having date '{month}' >= date '{first}'
            order by "ChargePeriodStart", "ResourceId"
        ) to '{path}' (format csv)""")
