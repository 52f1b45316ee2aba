"""The whole graph: landing files, lake, snapshot, warehouse, publication. ``dagster dev`` and pertask load it here."""

from __future__ import annotations

import dagster as dg

from orchestration.defs.checks.checks import batch_checks, mart_checks
from orchestration.defs.dbt.assets import days_asset, snapshot_asset, warehouse_assets
from orchestration.defs.ingest.assets import lake_assets, landing_specs
from orchestration.defs.ingest.checks import freshness_checks
from orchestration.defs.ingest.sensors import landing_sensor
from orchestration.defs.publish.assets import page_assets, publication_asset
from orchestration.defs.run.resources import writer_resource
from orchestration.defs.run.schedules import schedules
from orchestration.defs.run.sensors import dead_run_sensor
from orchestration.lib import builds
from pertask.config import load_config
from pertask.home import Home


@dg.definitions
def defs() -> dg.Definitions:
    """The graph of the home that PERTASK_HOME names."""
    return graph(Home.current())


def graph(home: Home) -> dg.Definitions:
    """The graph of one home: its sources decide the landing assets, dbt's manifest the rest.

    Raises:
        ConfigError: pertask.yml has errors.
    """
    config = load_config(home)
    manifest = builds.manifest(home)
    ingest = lake_assets(home, config)
    snapshot = snapshot_asset(home, manifest)
    warehouse = warehouse_assets(home, manifest)
    days = days_asset(home)
    publication = publication_asset(home, manifest, config)
    pages = page_assets(home, manifest, config)
    freshness = freshness_checks(home, config)
    gates = [batch_checks(home, config, manifest), mart_checks(home, config, manifest)]
    steps = {
        "ingest": dg.AssetSelection.assets(ingest) | dg.AssetSelection.checks(*freshness),
        "build": dg.AssetSelection.assets(snapshot, warehouse, days) | dg.AssetSelection.checks(*gates),
        "publish": dg.AssetSelection.checks(gates[1]) | dg.AssetSelection.assets(publication, *pages),
    }
    run = dg.define_asset_job("run", steps["ingest"] | steps["build"] | steps["publish"])
    parts = [dg.define_asset_job(f"run_{name}", selection) for name, selection in steps.items()]
    return dg.Definitions(
        assets=[*landing_specs(config), ingest, snapshot, warehouse, days, publication, *pages],
        asset_checks=[*freshness, *gates],
        jobs=[run, *parts],
        schedules=schedules(run, config.schedule),
        sensors=[landing_sensor(home, run), dead_run_sensor(home)],
        resources={"writer": writer_resource(home, config)},
        executor=dg.in_process_executor,
    )
