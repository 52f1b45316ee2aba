"""When the graph runs by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from pertask.config import Schedule


def schedules(
    job: dg.JobDefinition | dg.UnresolvedAssetJobDefinition, schedule: Schedule
) -> list[dg.ScheduleDefinition]:
    """Every night after midnight UTC what changed; on Sundays besides that the open billing periods, all tested."""
    common = {"job": job, "execution_timezone": "UTC", "default_status": dg.DefaultScheduleStatus.RUNNING}

    @dg.schedule(
        name="daily",
        cron_schedule=schedule.cron("1-6"),
        description="Ingest, build what changed, check, publish.",
        **common,
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=f"{_moment(context):%Y-%m-%d}")

    @dg.schedule(
        name="weekly",
        cron_schedule=schedule.cron("0"),
        description="As daily, and recompute the months whose bill may still change, and test every date.",
        **common,
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment = _moment(context)
        first, last = open_period(moment.date(), schedule.open_bill_days)
        asked = {"first_date": first.isoformat(), "last_date": last.isoformat(), "tests_everything": True}
        return dg.RunRequest(run_key=f"{moment:%Y-%m-%d}", run_config={"ops": {"snapshot": {"config": asked}}})

    return [daily, weekly]


def open_period(today: date, open_bill_days: int) -> tuple[date, date]:
    """The first and last day of the billing periods, calendar months, that may still change.

    open_period(date(2026, 9, 6), 10)  ->  2026-08-01, 2026-09-06: August's bill is open until September 10
    """
    return (today - timedelta(days=open_bill_days)).replace(day=1), today


def _moment(context: dg.ScheduleEvaluationContext) -> datetime:
    return context.scheduled_execution_time.astimezone(UTC)
