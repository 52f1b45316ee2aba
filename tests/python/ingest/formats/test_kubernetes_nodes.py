"""Kubernetes nodes as links between host names and billed resources."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.lake import Lake
from tests.python.ingest.helpers import bring, write_lines

CREATED = datetime(2026, 7, 31, 22, tzinfo=UTC)
DNS = "ip-10-0-0-5.ap-south-1.compute.internal"
AZURE = "/subscriptions/0AB1/resourceGroups/MC_rg/providers/Microsoft.Compute"


def node(name: str = DNS, provider_id: str | None = "aws:///ap-south-1a/i-0abc", **changes: object) -> dict:
    """A node as kubectl prints it, cut to what a reader needs and some of what it does not."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
            "creationTimestamp": "2026-07-31T22:00:00Z",
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
            "name": name,
        },
        "spec": {"providerID": provider_id} if provider_id is not None else {},
        "status": {"addresses": [{"address": "10.0.0.5", "type": "InternalIP"}], "capacity": {"nvidia.com/gpu": "8"}},
        **changes,
    }


def write_nodes(path: Path, *nodes: dict) -> Path:
    document = {"apiVersion": "v1", "items": list(nodes), "kind": "List", "metadata": {"resourceVersion": ""}}
    return write_lines(path, [json.dumps(document, indent=4)])


def test_a_node_ties_its_names_to_the_billed_machine_from_its_creation_on(tmp_path, lake_rows):
    result = bring(tmp_path, write_nodes(tmp_path / "nodes.json", node()))

    assert (result.format, result.rows_loaded, result.message) == ("kubernetes_nodes", 1, "")
    columns = "hostname, node_name, resource_id, gpu_uuid, valid_from, valid_to"
    assert lake_rows("resource_links", columns) == [(DNS, DNS, "i-0abc", None, CREATED, None)]
    (batch,) = Lake(tmp_path / "lake").batches().values()
    counts = batch.counts["resource_links"]
    assert (str(counts.min_date), counts.max_date) == ("2026-07-31", None)


def test_each_host_name_of_a_node_once_and_no_ip_addresses(tmp_path, lake_rows):
    addresses = [
        {"address": "10.0.0.5", "type": "InternalIP"},
        {"address": "3.3.3.3", "type": "ExternalIP"},
        {"address": DNS, "type": "InternalDNS"},
        {"address": DNS, "type": "Hostname"},
        {"address": "ec2-3-3-3-3.compute.amazonaws.com", "type": "ExternalDNS"},
    ]
    labels = {"kubernetes.io/hostname": "ip-10-0-0-5"}
    metadata = {"name": DNS, "creationTimestamp": "2026-07-31T22:00:00Z", "labels": labels}
    bring(tmp_path, write_nodes(tmp_path / "n.json", node(metadata=metadata, status={"addresses": addresses})))

    assert lake_rows("resource_links", "hostname, node_name, resource_id") == [
        (name, DNS, "i-0abc") for name in ("ec2-3-3-3-3.compute.amazonaws.com", "ip-10-0-0-5", DNS)
    ]


@pytest.mark.parametrize(
    ("provider_id", "expected"),
    [
        ("aws:///ap-south-1a/i-0abc", "i-0abc"),
        ("gce://my-project/europe-west4-a/gke-gpu-pool-1", "gke-gpu-pool-1"),
        (f"azure://{AZURE}/virtualMachines/gpu-0", f"{AZURE}/virtualMachines/gpu-0".lower()),
        (
            f"azure://{AZURE}/virtualMachineScaleSets/aks-gpu-vmss/virtualMachines/0",
            f"{AZURE}/virtualMachineScaleSets/aks-gpu-vmss".lower(),
        ),
        ("oci://ocid1.instance.oc1..aaa", "ocid1.instance.oc1..aaa"),
        ("ocid1.instance.oc1..aaa", "ocid1.instance.oc1..aaa"),
    ],
)
def test_a_machine_is_named_as_its_bill_names_it(tmp_path, lake_rows, provider_id, expected):
    bring(tmp_path, write_nodes(tmp_path / "nodes.json", node("n", provider_id)))

    assert lake_rows("resource_links", "resource_id") == [(expected,)]


def test_a_machine_of_google_is_named_by_its_number_as_its_bill_does(tmp_path, lake_rows):
    of_google = node(provider_id="gce://my-project/europe-west4-a/gke-gpu-pool-1")
    of_google["metadata"]["annotations"]["container.googleapis.com/instance_id"] = "1631541680007170157"
    bring(tmp_path, write_nodes(tmp_path / "nodes.json", of_google))
    name = "//compute.googleapis.com/zones/europe-west4-a/instances/1631541680007170157"
    assert lake_rows("resource_links", "resource_id") == [(name,)]


@pytest.mark.parametrize("provider_id", [None, ""])
def test_a_node_without_a_machine_ties_only_names_that_differ(tmp_path, lake_rows, provider_id):
    labels = {"name": "gpu-b", "labels": {"kubernetes.io/hostname": "rack-2"}}
    nodes = [node("gpu-a", provider_id), node("gpu-b", provider_id, metadata=labels)]
    result = bring(tmp_path, write_nodes(tmp_path / "nodes.json", *nodes))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert lake_rows("resource_links", "hostname, node_name, resource_id, valid_from") == [
        ("rack-2", "gpu-b", None, None)
    ]
    assert lake_rows("quarantined_rows", "reason") == [("fewer than two names to link",)]


def test_one_node_alone_and_a_list_with_other_objects(tmp_path, lake_rows):
    write_lines(tmp_path / "one.json", [json.dumps(node("a"), indent=4)])
    assert bring(tmp_path, tmp_path / "one.json").rows_loaded == 1
    result = bring(tmp_path, write_nodes(tmp_path / "more.json", node("b"), node("c", kind="Pod")))

    assert (result.rows_loaded, result.rows_skipped) == (1, 1)
    assert lake_rows("resource_links", "node_name") == [("a",), ("b",)]


def test_a_list_without_a_node_and_an_empty_list(tmp_path):
    pods = bring(tmp_path, write_nodes(tmp_path / "pods.json", node(kind="Pod"), node(kind="Pod")))
    assert pods.state == "failed"
    empty = bring(tmp_path, write_nodes(tmp_path / "none.json"), "kubernetes_nodes")
    assert empty.state == "failed"
    assert "this is not kubernetes_nodes" in empty.message


def test_a_node_with_a_wrong_time_costs_itself_only(tmp_path, lake_rows):
    wrong = node("b", metadata={"name": "b", "creationTimestamp": "yesterday"})
    result = bring(tmp_path, write_nodes(tmp_path / "nodes.json", node("a"), wrong, node(None)))

    assert (result.rows_loaded, result.rows_quarantined) == (1, 2)
    assert lake_rows("quarantined_rows", "file_name, column_name, reason") == [
        ("nodes.json", "node_name", "missing"),
        ("nodes.json", "valid_from", "not a time"),
    ]


def test_half_a_document_has_no_meaning(tmp_path, lake_rows):
    path = write_nodes(tmp_path / "nodes.json", node("a"), node("b"))
    path.write_text(path.read_text()[:-60])
    bring(tmp_path, path)

    assert lake_rows("resource_links", "node_name") == []
    assert lake_rows("quarantined_rows", "reason") == [("not valid JSON",)]
