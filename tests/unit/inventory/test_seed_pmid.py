"""A host keeps the number that it had in the older interface, as a label."""

from pathlib import Path

import pytest

from reconciler.desired.host_vars import make_host

REST = {"reconciler_uri": "test:///default", "reconciler_labels": {"rack": "r1"}}


@pytest.mark.parametrize("number", [7, "7"])
def test_its_number_is_a_label_beside_the_others(number: object) -> None:
    host, _, mistakes = make_host("kvm1", {**REST, "seed_pmid": number}, Path("/state"))
    assert not mistakes
    assert host is not None
    assert host.labels == {"rack": "r1", "seed/pmid": "7"}


@pytest.mark.parametrize("number", [0, "-1", "seven", "9" * 10, "{{ 7 }}", None, ["7"]])
def test_what_is_no_number_is_no_label_and_no_mistake(number: object) -> None:
    host, _, mistakes = make_host("kvm1", {**REST, "seed_pmid": number}, Path("/state"))
    assert not mistakes
    assert host is not None
    assert host.labels == {"rack": "r1"}
