"""Azure's 2023 code trace: tokens and times only, no ids; priced at $5 and $15 per million."""

from __future__ import annotations

from decimal import Decimal

from tests.realdata.conftest import MAPPINGS, Home


def test_the_code_trace_costs_what_its_tokens_say(home: Home, real_data):
    home.run(
        "ingest",
        real_data / "azure_llm_2023" / "AzureLLMInferenceTrace_code.dev.csv",
        *("--format", "mapping", "--mapping", MAPPINGS / "azure_code.yml", "--source", "azure"),
    )
    home.publish()
    (row,) = home.query(
        """
        select count(*) as attempts, sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens,
            sum(cost_usd) as cost_usd
        from core.fct_call_attempts
        """
    )
    assert (row["attempts"], int(row["input_tokens"]), int(row["output_tokens"])) == (5291, 10_760_942, 145_204)
    assert Decimal(str(row["cost_usd"])) == Decimal("55.982770")
    (day,) = home.query("select sum(tasks) as tasks, sum(cost_usd) as cost_usd from unit_economics.cost_per_task_daily")
    assert int(day["tasks"]) == 0, "calls without any id make no task"
    assert Decimal(str(day["cost_usd"])) == Decimal("55.982770")
