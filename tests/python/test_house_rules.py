"""The house rules of the dbt project, checked on dbt's manifest and on the SQL files; no warehouse is needed.

A rule is a function: its docstring says it, and it names each offender with what to do. It comes with faults, small
edits of a made-up project that keeps every rule, each of which the rule must find. What exposures promise is in
publish/test_exposures.py, what seeds hold in test_seeds.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.contracts import CONTRACTS
from orchestration.lib import builds
from pertask.home import Home
from tests.python.building import manifest
from tests.python.house_project import (
    CROSS_DB_TEST,
    DISPATCHED,
    Project,
    sound_project,
    with_column,
    with_file,
    with_model,
    with_parents,
    with_sql,
    without_test,
)
from tests.python.sql_text import joins, line_of, order_terms, sql_of, without_comments

ROOT = Path(__file__).resolve().parents[2]
MART_SCHEMAS = {"core", "unit_economics", "capacity", "levers", "planning", "quality"}
SCHEMAS = MART_SCHEMAS | {"staging", "intermediate", "seeds", "lake", "snapshot"}

DISPATCHED_FOR_DBT = {"replace_dates": ("get_incremental_replace_dates_sql", "replace_dates_sql")}
"""Files of macros/cross_db whose macro has the name by which dbt looks for it: that name, and what it dispatches."""

COMPARED_BY_WHOLE_BUILDS = {"replace_dates": "statements that change a table, which no query can be asked for"}
"""Macros of macros/cross_db without a case of their own, and why; test_spark_parity.py builds with them on both."""

LAKE_READERS = {
    "int_logged_names": "the distinct names of all rows: taking the newest delivery of each call first changes nothing",
    "int_shared_calls": "also reads the days on either side of the touched dates, which staging does not",
    "quarantined_rows": "a row that could not be read has nothing to be typed or deduplicated",
}
"""Models outside staging that read a lake contract, and why."""

MARTS_ON_STAGING = {
    ("dim_task_types", "stg_company_task_types"): "the company's file as it is, beside what calls name",
    ("dim_teams", "stg_company_teams"): "the company's file as it is, beside what calls name",
    ("fct_call_attempts", "stg_company_aliases"): "the company's names for its teams and task types",
    ("quote_observations", "stg_gpu_quotes"): "no model but this one reads quotes",
}
"""Marts that read a staging model, and why nothing stands between."""

KEYS_ELSEWHERE = {
    "stg_llm_calls": "int_call_attempts",
    "int_call_attempts": "int_attempt_outlines",
    "stg_resource_links": "int_resource_links",
    "stg_replica_windows": "int_replica_windows",
    "int_bill_lines_classified": "int_bill_lines",
    "int_call_findings_daily": "findings",
}
"""Models whose rows stand with the same key in another model, which tests it: testing a view reads all of it again."""

KEYS_BY_MAKING = {
    "int_prices": "tests/sql/assert_one_price_at_a_time.sql says more: that no two spans of a price overlap",
    "int_observed_prices": "rows of int_prices",
    "stg_gpu_samples": "the key is what merge_deliveries groups by; a test would merge all samples once more",
    "stg_gpu_sample_hosts": "the key is what its only select groups by",
    "quarantined_rows": "a line can hold several rows, twins among them: what could not be read has no key",
    **{
        f"stg_company_{name}": "pertask/company.py refuses a file with two rows of one key on one day"
        for name in ("aliases", "discounts", "owners", "prices", "task_types", "teams")
    },
}
"""Models that need no key test, and why."""

MANY_JOINS = {"int_gpu_hour_signals": "puts each signal of a GPU-hour beside it, one join a signal"}
"""Models in which one select may have more than 7 joins, and why."""

ONE_ENGINE_ONLY = {
    r"::": "cast(x as type)",
    r"//": "integer_divide",
    r"\bunnest\b": "explode_hours or explode_numbers",
    r"\bgenerate_series\b": "day_spine or explode_numbers",
    r"\blist(?:_\w+)?\s*\(": "a dispatch macro",
    r"\bstruct_pack\b": "a dispatch macro",
    r"\barg_(?:max|min)\b": "newest or first_said",
    r"\b(?:string_agg|listagg|group_concat)\b": "join_texts, which has an order",
    r"\b(?:approx_\w+|quantile\w*|median)\b": "percentile_cont(...) within group over doubles",
    r"\bstr[fp]time\b": "a dispatch macro",
    r"\bepoch\w*\b": "seconds_between or microseconds_between",
    r"\bdate_?(?:diff|sub|add)\b": "days_between, or an interval",
    r"\bregexp_matches\b": "matches_pattern",
    r"\bregexp_extract\b": "first_match",
    r"\bregexp_replace\b": "replace_matches (one engine replaces the first match, the other every match)",
    r"\b(?:string_split|str_split)\b": "split_part",
    r"->": "json_value",
    r"\bjson_(?:extract\w*|valid)\b": "json_value",
    r"\basof\b": "a join by a span of time",
    r"\b(?:un)?pivot\b": "a case per column",
    r"\bread_\w+\s*\(": "read_files",
    r"\b(?:hash|sha256)\s*\(": "md5",
    r"\b(?:iso)?(?:dayofweek|dow)\b": "days since a known Monday",
    r"\bconcat\s*\(": "|| (concat skips a null on one engine only)",
    r"\bas\s+(?:varchar|text|int|hugeint|float|real)\b": "string, bigint, double, or whole_number",
    r"\*\s*(?:exclude|replace)\b": "explicit columns",
    r"\bby\s+name\b": "explicit columns",
    r"\bignore\s+nulls\b": "a dispatch macro (within the call on one engine, behind it on the other)",
    r"\b\w+_(?:date|day) - (?:\w+\.)?\w+_(?:date|day)\b": "days_between (an interval on one engine)",
    r"\bdistinct\s+on\b": "row_number",
}
"""What only DuckDB knows, or what DuckDB and Spark answer differently, and what to write instead."""

COUNTED = {"attempts", "calls", "iterations", "lines", "requests", "rows", "successes", "tasks"}
UNITS = {"usd", "tokens", "seconds", "days", "bytes", "gib", "kwh", "count", "ratio", "multiple", "weight"}
BARE_NUMBERS = {"index", "number", "rank", "version", "score", "confidence", "temperature", "concurrency"}
AMOUNTS = {"amount", "cost", "price", "value", "quantity"}
OTHER_NUMBERS = {
    "iso_day_of_week": "a weekday by its ISO number",
    "iteration_cap": "a number of iterations",
    "row_length": "one word for bytes and characters, as the source counts",
}
"""How the name of a number ends: what it counts, its unit, a word that needs none, or an amount."""


Rule = Callable[[Project], Iterator[str]]
RULES: dict[str, tuple[Rule, tuple[Callable[[Project], object], ...]]] = {}


def rule(*faults: Callable[[Project], object]) -> Callable[[Rule], Rule]:
    """Make a function a rule; each fault edits a sound project so that the rule must find it."""

    def register(function: Rule) -> Rule:
        RULES[function.__name__] = (function, faults)
        return function

    return register


# engines


@rule(
    with_sql("select 1 as one {% if target.type == 'spark' %}, 2 as two {% endif %}"),
    with_sql("{{ adapter.type() }}"),
    with_file("tests/sql/assert_sums.sql", "select duckdb_tables()"),
    with_file("macros/finops/part_of.sql", "{#- A part. -#}\n{% macro part_of(x) %}{{ databricks }}{% endmacro %}"),
    with_file("macros/finops/part_of.sql", "{#- A part. -#}\n{% macro default__part_of(x) %}{{ x }}{% endmacro %}"),
)
def no_engine_outside_of_dispatch_macros(project: Project) -> Iterator[str]:
    """Models, singular tests and shared macros name no engine: bodies by engine stand in macros/cross_db alone."""
    pattern = re.compile(
        r"\b(?:duckdb|spark|databricks)(?![a-z])|\btarget\.(?:type|name)\b|\badapter\.type\b|\bdefault__"
    )
    for path, text in project.shared_sql():
        code = without_comments(text)
        for found in pattern.finditer(code):
            yield f"{path}:{line_of(code, found.start())}: {found[0]}: move it into a dispatch macro"


@rule(
    with_file("macros/cross_db/day_of.sql", "{#- A day. -#}\n{% macro day_of(x) %}cast({{ x }} as date){% endmacro %}"),
    lambda project: project.files.update(
        {"macros/cross_db/day_of.sql": DISPATCHED.replace("-#}", "-#} ").lstrip("{#- ")}
    ),
    with_file("macros/cross_db/day_of.sql", DISPATCHED.partition("\n")[2]),
    with_file("macros/cross_db/day_of.sql", DISPATCHED.replace("'pertask'", "'dbt'")),
    with_file("macros/cross_db/day_of.sql", DISPATCHED.replace("default__", "oracle__")),
    with_file("macros/cross_db/day_of.sql", f"{DISPATCHED}{{% macro helper() %}}1{{% endmacro %}}"),
    with_file("macros/cross_db/other.sql", DISPATCHED),
)
def one_dispatched_macro_a_file(project: Project) -> Iterator[str]:
    """A file of macros/cross_db has one macro, named as the file, with a comment before it, and its body by engine."""
    for path, text, names in project.macro_files():
        if not path.startswith("macros/cross_db/"):
            continue
        stem = Path(path).stem
        entry, dispatched = DISPATCHED_FOR_DBT.get(stem, (stem, stem))
        bodies = {f"{engine}__{dispatched}" for engine in ("default", "duckdb", "spark")}
        if not text.startswith("{#-"):
            yield f"{path}: begin with a comment that says what the macro gives"
        if f"adapter.dispatch('{dispatched}', 'pertask')" not in text:
            yield f"{path}: call adapter.dispatch('{dispatched}', 'pertask'), or move what all engines share elsewhere"
        elif entry not in names or not bodies & set(names):
            yield f"{path}: define {entry} and its bodies default__{dispatched}, duckdb__ or spark__"
        for name in set(names) - bodies - {entry}:
            yield f"{path}: {name}: one dispatched macro a file"


@rule(
    lambda project: project.files.pop(CROSS_DB_TEST),
    with_file(CROSS_DB_TEST, 'CASES = ["day_off"]'),
)
def dispatch_macros_are_compared_on_both_engines(project: Project) -> Iterator[str]:
    """Each macro of macros/cross_db has a case in the test that runs both engines and compares their answers."""
    # a name between quotes is a case's; one in a sentence is not
    words = {*re.findall(r'"(\w+)"', project.files.get(CROSS_DB_TEST, "")), *COMPARED_BY_WHOLE_BUILDS}
    for path, _, _ in project.macro_files():
        if path.startswith("macros/cross_db/") and Path(path).stem not in words:
            yield f"{path}: give {Path(path).stem} a case in {CROSS_DB_TEST}"


@rule(
    *(
        with_sql(f"select {expression} from calls")
        for expression in (
            "total::bigint",
            "total // 2",
            "unnest(tokens)",
            "list(token)",
            "list_sum(tokens)",
            "struct_pack(a := 1)",
            "arg_max(model, cost_usd)",
            "string_agg(model, ',')",
            "quantile_cont(cost_usd, 0.5)",
            "approx_quantile(cost_usd, 0.5)",
            "strftime(day, '%Y')",
            "epoch_us(ended_at)",
            "extract(epoch from ended_at)",
            "date_diff('day', first_day, last_day)",
            "regexp_matches(model, 'x')",
            "regexp_replace(model, 'x', '')",
            "string_split(model, '-')",
            "tags->>'team'",
            "hash(model)",
            "dayofweek(usage_date)",
            "concat(model, '-')",
            "cast(model as varchar)",
            "* exclude (model)",
            "first_value(model ignore nulls) over (partition by team)",
            "last_value(model) ignore nulls over (partition by team)",
            "ended_date - calls.started_date",
        )
    ),
    with_sql("select day from generate_series(1, 2) as days (day)"),
    with_sql("select model from calls asof join prices on calls.day >= prices.day"),
    with_sql("select model from (pivot calls on team using sum(cost_usd))"),
    with_sql("select model from read_parquet('calls.parquet')"),
    with_sql("select {{ safe_divide('epoch(ended_at)', '2') }} as half"),
    with_sql("select [1, 2] as numbers"),
    with_sql("select {'a': 1} as pair"),
)
def shared_sql_is_what_both_engines_know(project: Project) -> Iterator[str]:
    """What one engine does not know or answers differently appears in macros/cross_db alone."""
    known = [(re.compile(pattern), instead) for pattern, instead in ONE_ENGINE_ONLY.items()]
    for path, text in project.shared_sql():
        sql = sql_of(text)
        for pattern, instead in known:
            for found in pattern.finditer(sql):
                yield f"{path}:{line_of(sql, found.start())}: {' '.join(found[0].split())} ... write {instead}"
        bare = sql_of(text, with_arguments=False)
        for found in re.finditer(r"[\[{]", bare):
            yield f"{path}:{line_of(bare, found.start())}: a list or struct: use rows, or a dispatch macro"


@rule(with_sql("select min_by(model, started_at) as first_model from calls"), with_sql("select max_by(a, b) as c"))
def models_take_the_first_value_by_macro(project: Project) -> Iterator[str]:
    """min_by and max_by stand in macros, with a condition: one engine alone passes over rows without a value."""
    for path, text in project.shared_sql(with_macros=False):
        sql = sql_of(text)
        for found in re.finditer(r"\b(?:min|max)_by\b", sql):
            yield f"{path}:{line_of(sql, found.start())}: {found[0]}: write first_said, oldest or newest"


@rule(
    with_sql("select cost_usd / calls as cost_per_call from totals"),
    with_sql("select {{ whole_number('cost_usd / calls') }} as cost_per_call from totals"),
    with_sql("select cost_usd / 0 as nothing from totals"),
)
def a_division_cannot_be_by_zero(project: Project) -> Iterator[str]:
    """Divisors are numbers, variables, or columns that the same file holds above 0: else one engine fails."""
    for path, text in project.shared_sql():
        sql = sql_of(re.sub(r"{{\s*var\('\w+'\)\s*}}", "1", text))
        # a path in a macro's argument has no blanks around its slashes
        for found in re.finditer(r"\s/\s+(?:cast\(|nullif\()?([\w.]+)", sql):
            divisor = found[1]
            is_number = re.fullmatch(r"[0-9.]+", divisor) and float(divisor) != 0
            is_above_0 = re.search(rf"\b{divisor} > 0|, 1\) as {divisor}\b", sql) or "nullif(" in found[0]
            if not (is_number or is_above_0):
                yield f"{path}:{line_of(sql, found.start())}: / {divisor}: use safe_divide or integer_divide"


@rule(
    with_sql("select row_number() over (partition by source order by task_id) as place from calls"),
    with_sql("select row_number() over (order by started_at desc, calls.task_id asc) as place from calls"),
    with_sql("select call_id from calls order by task_id"),
)
def an_ascending_order_says_where_nulls_go(project: Project) -> Iterator[str]:
    """A column that a lake contract lets be null is sorted with nulls last or first: ascending, engines differ.

    Not where a test of the model or of one that it reads says that the column is never null. Descending, both engines
    put nulls last.
    """
    nullable = {
        name for contract in CONTRACTS.values() for name in contract.column_names if name not in contract.required
    }
    for model in project.models():
        path = model["original_file_path"]
        sql = sql_of(project.files[path])
        checked = {
            column for name in [model["unique_id"], *project.parents(model)] for column in project.required(name)
        }
        for position, term in order_terms(sql):
            column = term.removesuffix(" asc").split(".")[-1]
            if column in nullable - checked:
                yield f"{path}:{line_of(sql, position)}: order by {term}: add nulls last"


# layers


@rule(
    with_model("stg_calls", name="calls"),
    with_model("int_calls", name="calls_of_tasks"),
    with_model("fct_calls", name="calls"),
    with_model("fct_calls", original_file_path="models/marts/capacity/fct_calls.sql", schema="capacity"),
)
def prefixes_say_the_layer(project: Project) -> Iterator[str]:
    """stg_ in staging, int_ in intermediate, fct_ or dim_ in core; the other marts have no prefix."""
    prefixes = {"staging": ("stg_",), "intermediate": ("int_",), "marts/core": ("fct_", "dim_")}
    every = tuple(prefix for some in prefixes.values() for prefix in some)
    for model in project.models():
        path = Path(model["original_file_path"])
        layer = next((layer for layer in prefixes if f"models/{layer}/" in f"{path}"), None)
        if layer and not model["name"].startswith(prefixes[layer]):
            yield f"{path}: {model['name']}: begin its name with {' or '.join(prefixes[layer])}"
        if not layer and model["name"].startswith(every):
            yield f"{path}: {model['name']}: a mart outside core has no prefix"


@rule(
    with_model("fct_calls", schema="marts"),
    with_model("fct_calls", original_file_path="models/marts/finance/fct_calls.sql", schema="finance"),
    with_model("stg_calls", schema="main"),
    with_model("int_calls", original_file_path="models/helpers/int_calls.sql"),
)
def folders_and_schemas_are_the_known_ones(project: Project) -> Iterator[str]:
    """Staging, intermediate, and marts of the six public schemas: the schema is the folder's name."""
    for model in project.models():
        path = model["original_file_path"]
        layer, folder = [*path.split("/")[1:], ""][:2]
        known = {folder} & MART_SCHEMAS if layer == "marts" else {layer} & {"staging", "intermediate"}
        if model["schema"] not in known:
            yield f"{path}: schema {model['schema']}: put it in the folder and schema of a layer or subject"


@rule(
    with_model("int_calls", patch_path="pertask://models/intermediate/intermediate.yml"),
    with_model("int_calls", patch_path=None),
    lambda project: project.manifest["unit_tests"].update(
        {"unit_test.x": {"model": "fct_calls", "original_file_path": "models/intermediate/int_calls.yml", "name": "x"}}
    ),
)
def one_yml_beside_each_model(project: Project) -> Iterator[str]:
    """A model is described in the yml of its own name beside it, which holds its unit tests and no other model's."""
    for model in project.models():
        expected = f"pertask://{Path(model['original_file_path']).with_suffix('.yml')}"
        if model["patch_path"] != expected:
            yield f"{model['original_file_path']}: described in {model['patch_path']}: describe it in {expected}"
    for test in project.manifest["unit_tests"].values():
        if Path(test["original_file_path"]).stem != test["model"]:
            yield f"{test['original_file_path']}: unit test {test['name']}: move it to {test['model']}.yml"


@rule(with_model("int_calls", description="Calls."), with_model("int_calls", description=""))
def descriptions_say_the_grain(project: Project) -> Iterator[str]:
    """Each model's description opens with "One row per"."""
    for model in project.models():
        if not model["description"].startswith("One row per "):
            yield f"{model['original_file_path']}: begin its description with 'One row per ...'"


@rule(
    with_model("int_calls", columns={}),
    with_model("int_calls", columns={"call_id": {"name": "call_id", "description": ""}}),
)
def named_columns_are_described(project: Project) -> Iterator[str]:
    """Each model describes a column or more, and says of each column that it names what it is."""
    for model in project.models():
        if not model["columns"]:
            yield f"{model['original_file_path']}: describe its columns, the key first"
        for column in model["columns"].values():
            if not column["description"].strip():
                yield f"{model['original_file_path']}: {column['name']}: say what it is, its unit, and when it is null"


@rule(without_test("unique_combination"), without_test("required"))
def every_key_is_tested(project: Project) -> Iterator[str]:
    """Tests say that each model's key is unique and which columns are always there."""
    for model in project.models():
        other = model["name"]
        while other in KEYS_ELSEWHERE:
            other = KEYS_ELSEWHERE[other]
        if model["name"] not in KEYS_BY_MAKING and not project.has_key_test(project.model(other)):
            yield f"{model['original_file_path']}: test its key with unique_combination, and required"


# what reads what


@rule(
    with_parents("int_calls", "source.pertask.lake.llm_calls"),
    with_parents("fct_calls", "source.pertask.snapshot.company_teams"),
)
def only_staging_reads_the_lake(project: Project) -> Iterator[str]:
    """Lake contracts and the company's files are read by staging alone; what the snapshot says of a build, by any."""
    for model in project.models():
        if model["original_file_path"].startswith("models/staging/") or model["name"] in LAKE_READERS:
            continue
        for parent in project.parents(model):
            if parent.startswith(("source.pertask.lake.", "source.pertask.snapshot.company_")):
                yield f"{model['original_file_path']}: reads {parent}: read its staging model"


@rule(
    with_parents("stg_calls", "source.pertask.lake.llm_calls", "model.pertask.stg_tasks"),
    with_parents("stg_calls", "model.pertask.fct_calls"),
)
def staging_reads_no_model(project: Project) -> Iterator[str]:
    """A staging model reads sources and seeds, and of the models int_touched_dates, which says what to read."""
    for model in project.models("staging/"):
        for parent in project.parents(model):
            if parent.startswith("model.") and parent != "model.pertask.int_touched_dates":
                yield f"{model['original_file_path']}: reads {parent}: that is work for an intermediate model"


@rule(with_parents("fct_calls", "model.pertask.stg_calls"))
def marts_read_no_staging(project: Project) -> Iterator[str]:
    """A mart reads intermediate models, other marts and seeds."""
    for model in project.models("marts/"):
        for parent in project.parents(model):
            name = parent.split(".")[-1]
            if name.startswith("stg_") and (model["name"], name) not in MARTS_ON_STAGING:
                yield f"{model['original_file_path']}: reads {name}: read an intermediate model"


@rule(with_parents("int_calls"))
def no_model_reads_nothing(project: Project) -> Iterator[str]:
    """Each model reads something through ref, lake or snapshot: else dbt does not know when to build it."""
    for model in project.models():
        if not project.parents(model):
            yield f"{model['original_file_path']}: reads nothing that dbt knows of: use ref, lake or snapshot"


@rule(
    with_sql("select call_id from core.fct_calls"),
    with_sql("select calls.call_id from calls inner join intermediate.int_tasks as tasks on true"),
    with_sql("select call_id from fct_calls"),
    with_file("tests/sql/assert_sums.sql", "select call_id from stg_calls"),
)
def tables_are_named_by_ref(project: Project) -> Iterator[str]:
    """No schema or relation is spelled out: ref, source, lake and snapshot tell dbt what is read."""
    relations = {
        node["name"] for node in project.manifest["nodes"].values() if node["resource_type"] in ("model", "seed")
    }
    for path, text in project.shared_sql(with_macros=False):
        sql = sql_of(text, with_arguments=False)
        named = set(re.findall(r"\b(\w+) as \(", sql))
        for found in re.finditer(r"(?<!distinct )\b(?:from|join)\s+(\w+)(\.\w+)?", sql):
            is_relation = found[1] in SCHEMAS - named if found[2] else found[1] in relations - named
            if is_relation:
                yield f"{path}:{line_of(sql, found.start())}: {found[1]}{found[2] or ''}: use ref or source"


@rule(with_sql("select " + "1 as one from calls" + " left join others on true" * 8))
def selects_have_at_most_7_joins(project: Project) -> Iterator[str]:
    """Beyond 7 joins a select is hard to read: make a part of them a CTE, or a model."""
    for model in project.models():
        path = model["original_file_path"]
        sql = sql_of(project.files[path])
        for position, count in joins(sql):
            if count > 7 and model["name"] not in MANY_JOINS:
                yield f"{path}:{line_of(sql, position)}: {count} joins in one select: split it"


# public marts


@rule(
    with_model("fct_calls", access="protected"),
    with_model("fct_calls", contract={"enforced": False}),
    with_model("fct_calls", config={"materialized": "view", "meta": {}}),
    with_model("int_calls", access="public"),
)
def marts_are_public_and_under_contract(project: Project) -> Iterator[str]:
    """Marts, and marts alone, are public: kept as tables, under an enforced contract."""
    for model in project.models():
        path, is_public = model["original_file_path"], model["access"] == "public"
        if is_public != path.startswith("models/marts/"):
            yield f"{path}: access {model['access']}: marts are public, other models are not"
        elif is_public and not model["contract"]["enforced"]:
            yield f"{path}: enforce its contract (contract: {{enforced: true}})"
        elif is_public and model["config"]["materialized"] not in ("table", "incremental"):
            yield f"{path}: a {model['config']['materialized']} cannot be published: make it a table"


@rule(
    with_column("note", data_type=None),
    with_column("note", data_type="varchar"),
    with_column("notes", data_type="string[]"),
    with_column("note", data_type="struct(a bigint)"),
    with_column("note", data_type="map(string, string)"),
    with_column("calls", data_type="hugeint"),
)
def marts_have_types_that_both_engines_know(project: Project) -> Iterator[str]:
    """A mart's column is a string, bigint, double, boolean, date, timestamp or decimal with its places."""
    known = re.compile(r"string|bigint|double|boolean|date|timestamp|decimal\(\d+, \d+\)")
    for model in project.models("marts/"):
        for column in model["columns"].values():
            if not known.fullmatch(column["data_type"] or ""):
                yield f"{model['original_file_path']}: {column['name']}: {column['data_type']}: use a known type"


@rule(
    with_column("idle_usd", data_type="double"),
    with_column("idle_usd", data_type="decimal(18, 2)"),
    with_column("output_usd_per_million", data_type="double"),
)
def money_is_exact(project: Project) -> Iterator[str]:
    """Dollars are decimal(38, 12); a price of one unit or of so many is another decimal, never a double."""
    for model in project.models("marts/"):
        for column in model["columns"].values():
            words, data_type = column["name"].split("_"), column["data_type"] or ""
            is_price = "price" in words or "per" in words
            is_exact = data_type.startswith("decimal(") if is_price else data_type == "decimal(38, 12)"
            if "usd" in words and data_type not in ("string", "boolean") and not is_exact:
                yield f"{model['original_file_path']}: {column['name']} is {data_type}: make it decimal(38, 12)"


@rule(
    with_column("duration", data_type="double"),
    with_column("energy", data_type="decimal(38, 12)"),
    with_column("old_amount", data_type="decimal(38, 12)", description="What it was."),
)
def numbers_say_their_unit(project: Project) -> Iterator[str]:
    """A number's name says what it counts or its unit; of an amount, the description says what the unit is."""
    for model in project.models("marts/"):
        for column in model["columns"].values():
            if not re.match("bigint|double|decimal", column["data_type"] or "") or column["name"] in OTHER_NUMBERS:
                continue
            words = column["name"].split("_")
            says_unit = words[-1] in UNITS | BARE_NUMBERS or "per" in words or set(words) & COUNTED
            says_elsewhere = words[-1] in AMOUNTS and re.search("USD|currency|unit|quantity", column["description"])
            if not (says_unit or says_elsewhere):
                yield f"{model['original_file_path']}: {column['name']}: end its name with the unit"


# macros and builds


@rule(
    with_file("macros/finops/part_of.sql", "{% macro part_of(x) %}{{ x }}{% endmacro %}"),
    with_file(
        "macros/lake/lake.sql",
        "{#- The lake. -#}\n{% macro lake() %}1{% endmacro %}\n\n{% macro paths() %}2{% endmacro %}",
    ),
    with_file("macros/generic_tests/odd.sql", "{% test odd(model) %}select 1{% endtest %}"),
)
def macros_open_with_what_they_give(project: Project) -> Iterator[str]:
    """A comment before each macro says what it gives, or the file's opening comment does by the macro's name."""
    for path, text, names in project.macro_files():
        described = set(re.findall(r"-?#}\s*{%-?\s*(?:macro|test)\s+(\w+)", text))
        opening = text.partition("#}")[0] if text.startswith("{#-") else ""
        for name in names:
            if name not in described and not re.search(rf"\b{name}\b", opening) and "__" not in name:
                yield f"{path}: {name}: say in a comment before it what it gives"


@rule(
    with_model("int_calls", config={"materialized": "incremental", "incremental_strategy": "append", "meta": {}}),
    with_model(
        "int_calls", config={"materialized": "incremental", "incremental_strategy": "replace_dates", "meta": {}}
    ),
    with_model(
        "fct_calls",
        config={
            "materialized": "incremental",
            "incremental_strategy": "replace_dates",
            "meta": {"date_column": "nowhere"},
        },
    ),
)
def incremental_models_replace_dates(project: Project) -> Iterator[str]:
    """An incremental model names its date column and replaces the touched dates: else rows that vanished stay."""
    for model in project.models():
        config, path = model["config"], model["original_file_path"]
        if config["materialized"] != "incremental":
            continue
        date_column = config["meta"].get("date_column")
        if config["incremental_strategy"] != "replace_dates" or not date_column:
            yield f"{path}: set incremental_strategy='replace_dates' and meta={{'date_column': ...}}"
        elif model["access"] == "public" and date_column not in model["columns"]:
            yield f"{path}: it has no column {date_column}, which meta.date_column names"


# the rules at work


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This repository."""
    patterns = ("models/**/*.sql", "tests/sql/*.sql", "macros/**/*.sql", CROSS_DB_TEST)
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    home = Home(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in builds.environment(home).items():
            patch.setenv(name, value)
        parsed = manifest().writable_manifest().to_dict()
    return Project(parsed, {f"{path.relative_to(ROOT)}": path.read_text(encoding="utf-8") for path in paths})


@pytest.mark.parametrize("name", RULES)
def test_the_project_keeps_the_rule(project: Project, name: str) -> None:
    check, _ = RULES[name]
    offenders = list(check(project))
    assert offenders == [], "\n".join([check.__doc__ or "", *offenders])


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, (_, faults) in RULES.items() for number in range(len(faults))]
)
def test_the_rule_finds_its_fault(name: str, number: int) -> None:
    check, faults = RULES[name]
    broken = sound_project()
    assert list(check(broken)) == []
    faults[number](broken)
    assert list(check(broken))


def test_every_rule_is_proven_and_says_itself() -> None:
    assert len(RULES) == 25
    for check, faults in RULES.values():
        assert faults and check.__doc__


def test_exceptions_are_of_models_that_exist_and_need_them(project: Project) -> None:
    for name, other in KEYS_ELSEWHERE.items():
        ids = project.model(name)["unique_id"], project.model(other)["unique_id"]
        assert ids[0] in project.parents(project.model(other)) or ids[1] in project.parents(project.model(name)), name
        assert not project.has_key_test(project.model(name)), name
    assert [name for name in KEYS_BY_MAKING if project.has_key_test(project.model(name))] == []
    for name, parent in MARTS_ON_STAGING:
        assert f"model.pertask.{parent}" in project.parents(project.model(name)), name
    for name in LAKE_READERS:
        assert any(parent.startswith("source.pertask.lake.") for parent in project.parents(project.model(name))), name
    for name in MANY_JOINS:
        path = project.model(name)["original_file_path"]
        assert max(count for _, count in joins(sql_of(project.files[path]))) > 7, name
    columns = Counter(column for model in project.models("marts/") for column in model["columns"])
    assert [name for name in OTHER_NUMBERS if not columns[name]] == []
