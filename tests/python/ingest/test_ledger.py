"""The ledger: what cannot be read is an error, and never a lake without deliveries."""

from __future__ import annotations

import os

import pytest

from ingest.errors import LakeError
from ingest.ledger import ledger_folder, read_ledger


def test_a_lake_that_nobody_made_has_no_deliveries_and_is_not_made(tmp_path):
    assert read_ledger(tmp_path / "lake") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"parts": [], "counts": []}', "[" * 100_000, "\x00"])
def test_a_damaged_record_names_its_file(tmp_path, content):
    ledger_folder(tmp_path).mkdir()
    (ledger_folder(tmp_path) / "abc.json").write_text(content)
    with pytest.raises(LakeError, match=r"abc\.json: this ledger record cannot be read"):
        read_ledger(tmp_path)


def test_a_folder_in_place_of_a_record_is_told(tmp_path):
    (ledger_folder(tmp_path) / "abc.json").mkdir(parents=True)
    with pytest.raises(LakeError, match=r"abc\.json"):
        read_ledger(tmp_path)


def test_a_ledger_that_cannot_be_listed_is_not_an_empty_one(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(LakeError, match=r"_ledger: the ledger cannot be listed \(Permission denied\)"):
        read_ledger(tmp_path)
