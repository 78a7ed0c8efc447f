"""A DELETE of one object is on record before its commit, and only if there is one."""

from __future__ import annotations

import pytest
from support.served import Served

from reconciler.errors import UnavailableError
from reconciler.model.placement import Phase, Record

VMS = "/api/v1/virtualmachines"
VOLUME = {"spec": {"size": "1Gi", "pool": "default"}}


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    made.store.put_records([Record("web-1", "uid-1", "kvm1", 1, Phase.PLACED)])
    yield made
    made.close()


def test_who_deletes_a_machine_names_the_one_that_is_there(served):
    assert served.client.simulate_delete(f"{VMS}/web-1").status_code == 204
    assert served.client.simulate_delete(f"{VMS}/web-1").status_code == 404
    assert served.store.deletions() == {"web-1": "uid-1"}


def test_who_deletes_a_volume_names_it(served):
    made = served.client.simulate_put("/api/v1/volumes/data", json=VOLUME)
    assert made.status_code == 201, made.text
    assert served.client.simulate_delete("/api/v1/volumes/data").status_code == 204
    assert served.store.deletions() == {"Volume/data": ""}


def test_what_no_limit_counts_is_not_noted(served):
    assert served.client.simulate_put("/api/v1/networks/lan", json={"spec": {"mode": "isolated"}})
    assert served.client.simulate_delete("/api/v1/networks/lan").status_code == 204
    assert served.store.deletions() == {}


@pytest.mark.parametrize("headers", [{"If-Match": '"old"'}, {}], ids=["another version", "no commit"])
def test_a_deletion_that_is_refused_was_not_asked_for(served, monkeypatch, headers):
    if not headers:

        def broken(_write: object) -> None:
            assert set(served.store.deletions()) == {"web-1"}
            raise UnavailableError("git is not there")

        monkeypatch.setattr(served.services.desired, "write", broken)
    answer = served.client.simulate_delete(f"{VMS}/web-1", headers=headers)
    assert answer.status_code == (412 if headers else 503)
    assert served.store.deletions() == {}


def test_a_dry_run_names_nothing(served):
    served.client.simulate_delete(f"{VMS}/web-1", params={"dryRun": "true"})
    assert served.store.deletions() == {}
