"""Domains that exist, described as YAML: valid, and after an adoption there is nothing to do."""

import json

import libvirt
import pytest
from observed_nodes import daemons, domain_xml, nodes, uuid_of
from support.command import call

from reconciler.cli.import_ import _find
from reconciler.desired.decode import decode_text
from reconciler.desired.writer import to_yaml
from reconciler.observed.fleet import Observer

__all__ = ["daemons", "nodes"]


class Installation:
    """A configuration for one host."""

    def __init__(self, folder, uri):
        self.source = folder / "source"
        self.source.mkdir()
        (folder / "hosts.yml").write_text(
            f"all: {{hosts: {{kvm1: {{reconciler_uri: '{uri}', reconciler_virt_type: test}}}}}}\n"
        )
        self.config = folder / "reconciler.yaml"
        self.config.write_text("source: {path: source}\ninventory: [hosts.yml]\nstateDir: state\n")

    def call(self, *words):
        return call(*words, "--config", str(self.config))


def test_from_domain_to_yaml_to_adoption_to_an_empty_plan(tmp_path, daemons):
    daemon = daemons()
    # The test driver's world lives as long as somebody looks at it.
    keep = libvirt.open(daemon.uri)
    keep.defineXML(domain_xml("web 1", 1, description="two\n  lines: {{ x }}"))
    here = Installation(tmp_path, daemon.uri)

    said = here.call("import", "virsh", "kvm1")
    assert said.exit == 0, said.text
    assert sorted(path.name for path in here.source.iterdir()) == ["test.yaml", "web 1.yaml"]
    valid = here.call("validate", "-o", "json")
    assert json.loads(valid.out)["machines"] == 2, valid.text
    # One is enough: an adoption is a run of Ansible.
    (here.source / "test.yaml").unlink()
    said = here.call("adopt", "kvm1/web 1")
    assert said.exit == 0, said.text
    assert "note:" not in said.err
    plan = here.call("plan", "-o", "json")
    assert json.loads(plan.out)["actions"] == [], plan.text
    assert json.loads(plan.out)["changes"] == [], plan.text

    # What is ours is left out when all are asked for, and refused by name.
    said = here.call("import", "virsh", "kvm1", "--dry-run", "-o", "json")
    assert [each["name"] for each in json.loads(said.out)["machines"]] == ["test"]
    said = here.call("import", "virsh", "kvm1/web 1", "--dry-run")
    assert said.exit == 1
    assert "it is ours already" in said.err
    keep.close()


def test_nothing_that_is_there_is_written_over(tmp_path):
    here = Installation(tmp_path, "test:///default")
    (here.source / "test.yaml").write_text("mine")
    said = here.call("import", "virsh", "kvm1")
    assert said.exit == 64
    assert "test.yaml exists already" in said.err
    assert (here.source / "test.yaml").read_text() == "mine"
    said = here.call("import", "virsh", "kvm1/test", "kvm1/none", "--force", "-o", "json")
    assert said.exit == 1
    told = json.loads(said.out)
    assert [each["domain"] for each in told["machines"]] == ["kvm1/test"]
    assert told["refused"] == [{"what": "kvm1/none", "reason": "there is no such domain"}]
    assert decode_text((here.source / "test.yaml").read_text(), "test.yaml")[0].name == "test"


@pytest.fixture
def look(nodes):
    """Import from hosts described in files."""
    observer = Observer("default", opener=nodes.open)

    def run(*hosts):
        named = {host.name: host for host in hosts}
        return _find({name: [] for name in named}, named, observer.observe(named), "default")

    yield run
    observer.close()


def test_what_a_manifest_does_not_say_is_told(look, nodes):
    more = domain_xml("a", 1).replace("</devices>", "<sound model='ich6'/></devices>")
    found = look(nodes.host("kvm1", more.replace("<memory", "<title>old</title><memory", 1)))
    assert found.refused == {}
    assert {"sound (ich6)", "title"} <= set(found.kept["kvm1/a"])


def test_a_name_and_a_mac_are_imported_once(look, nodes):
    first = nodes.host("kvm1", domain_xml("a", 1))
    second = nodes.host("kvm2", domain_xml("a", 2), domain_xml("b", 1).replace(uuid_of(1), uuid_of(3)))
    found = look(first, second)
    assert list(found.adoptions) == ["kvm1/a"]
    assert "its name is that of kvm1/a too" in found.refused["kvm2/a"]
    assert "its MAC 52:54:00:00:00:01 is that of kvm1/a too" in found.refused["kvm2/b"]


def test_a_domain_that_no_manifest_describes_is_told_and_holds_up_no_other(look, nodes):
    direct = (
        domain_xml("odd", 2)
        .replace("type='network'", "type='direct'")
        .replace("network='default'", "dev='eth0' mode='bridge'")
    )
    found = look(nodes.host("kvm1", domain_xml("a", 1), direct))
    assert list(found.adoptions) == ["kvm1/a"]
    assert "neither a network nor a bridge" in found.refused["kvm1/odd"]


def test_hostile_text_stays_text(look, nodes):
    text = "x\nkind: Other\n--- {{ 7*7 }} &amp;"
    found = look(nodes.host("kvm1", domain_xml("a", 1, description=text)))
    vm = found.adoptions["kvm1/a"].vm
    assert vm.spec.description == text.replace("&amp;", "&")
    assert decode_text(to_yaml(vm), "a.yaml") == (vm,)
