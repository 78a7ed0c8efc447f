"""What the observer reports of hosts that answer, against libvirt's own test driver."""

import libvirt
import pytest
from observed_nodes import Nodes, domain_xml, mark, nodes, until, uuid_of

from reconciler.model.domain import DomainState
from reconciler.model.host import Host, HostStatus
from reconciler.observed.fleet import Observer

__all__ = ["nodes"]


class World:
    """One host with three domains, two of them ours, and an observer that has looked once."""

    def __init__(self, nodes: Nodes):
        self.nodes = nodes
        self.news = []
        self.observer = Observer("default", self.news.append, opener=nodes.open)
        self.hosts = {
            "one": nodes.host(
                "one",
                domain_xml("web", 1, metadata=mark("web", 1)),
                domain_xml("db", 2, metadata=mark("db", 2)),
                domain_xml("foreign", 3, metadata=mark("foreign", 3, owner="somebody")),
            ),
            "two": nodes.host("two", domain_xml("other", 4)),
        }
        self.before = self.observer.observe(self.hosts)

    def look(self):
        return self.observer.observe(self.hosts)

    def changed(self):
        """Look again; the names of the domains on host one that are other objects than before."""
        now = self.look()
        before, self.before = self.before, now
        assert now["two"] is before["two"]
        old = {domain.name: domain for domain in before["one"].domains.values()}
        new = {domain.name: domain for domain in now["one"].domains.values()}
        return {name for name in old.keys() | new.keys() if old.get(name) is not new.get(name)}

    def domain(self, name):
        return next(d for d in self.before["one"].domains.values() if d.name == name)

    def raw(self, name):
        return self.nodes.domain("one", name)


@pytest.fixture
def world(nodes):
    world = World(nodes)
    yield world
    world.observer.close()


def test_the_host_itself(world):
    host = world.before["one"]
    assert (host.name, host.status, host.message) == ("one", HostStatus.READY, "")
    assert (host.cpus, host.memory) == (16, 64 << 30)
    assert host.virt_types == {"test"}
    assert host.libvirt_version.count(".") == 2
    assert host.networks == {"default"}
    # Thousands of them are one process, and no two of them are one host.
    assert (host.uuid, host.nics) == ("", frozenset())
    pool = host.pools["default"]
    assert (pool.type, pool.path, pool.active) == ("dir", "/pool", True)
    assert pool.capacity >= pool.available > 0


def test_domains_and_marks(world):
    assert {d.name for d in world.before["one"].domains.values()} == {"web", "db", "foreign"}
    web = world.before["one"].domains[uuid_of(1)]
    assert (web.host, web.name, web.uuid, web.state) == ("one", "web", uuid_of(1), DomainState.RUNNING)
    assert web.persistent
    assert web.config.autostart is False
    assert web.config.memory == 512 << 20
    assert web.config.disks[0].path == "/pool/web.qcow2"
    assert (web.applied.name, web.applied.generation, web.applied.uid) == ("web", 2, uuid_of(1))
    assert web.applied_live == web.applied
    assert world.domain("foreign").applied is None
    assert world.domain("foreign").foreign_owner == "somebody"
    assert web.foreign_owner == ""


def test_nothing_changed_is_the_same_object(world):
    assert world.look() is world.before


def test_destroy_and_start(world):
    world.raw("web").destroy()
    assert world.changed() == {"web"}
    web = world.domain("web")
    assert (web.state, web.state_reason) == (DomainState.SHUT_OFF, "destroyed")
    assert web.live is None
    assert web.applied is not None
    assert web.applied_live is None
    world.raw("web").create()
    assert world.changed() == {"web"}
    assert world.domain("web").state is DomainState.RUNNING
    assert world.domain("web").live is not None


def test_suspended_is_active(world):
    world.raw("db").suspend()
    assert world.changed() == {"db"}
    assert (world.domain("db").state, world.domain("db").state_reason) == (DomainState.PAUSED, "user")
    assert world.domain("db").state.active


def test_balloon(world):
    world.raw("web").setMemory(256 << 10)
    assert world.changed() == {"web"}
    assert world.domain("web").live.memory == 256 << 20
    assert world.domain("web").live.max_memory == 512 << 20


def test_autostart(world):
    world.raw("web").setAutostart(1)
    assert world.changed() == {"web"}
    assert world.domain("web").config.autostart is True


def test_define_and_undefine(world):
    world.nodes["one"].defineXML(domain_xml("new", 9))
    assert world.changed() == {"new"}
    assert world.domain("new").state is DomainState.SHUT_OFF
    assert world.domain("new").applied is None
    world.raw("new").undefine()
    assert world.changed() == {"new"}
    assert uuid_of(9) not in world.before["one"].domains


def test_transient(world):
    world.nodes["one"].createXML(domain_xml("fleeting", 9))
    assert world.changed() == {"fleeting"}
    assert not world.domain("fleeting").persistent


def test_redefining_a_running_domain_changes_its_persistent_configuration_only(world):
    world.nodes["one"].defineXML(domain_xml("web", 1, memory=1024, metadata=mark("web", 1)))
    until(lambda: "one" in world.news)
    assert world.changed() == {"web"}
    assert world.domain("web").config.max_memory == 1024 << 20
    assert world.domain("web").live.max_memory == 512 << 20


def test_a_change_that_no_event_tells_is_found_on_request(world):
    world.raw("web").setVcpusFlags(1, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert world.changed() == set()
    world.observer.refresh(["one"])
    assert world.changed() == {"web"}
    assert world.domain("web").config.cpus == 1
    assert world.domain("web").live.cpus == 2


def test_description(world):
    world.raw("db").setMetadata(
        libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, "hello <&>", None, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    )
    until(lambda: "one" in world.news)
    assert world.changed() == {"db"}
    assert world.domain("db").config.description == "hello <&>"
    assert world.domain("db").live.description is None


def test_losing_the_mark_is_losing_the_domain(world):
    world.raw("web").setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
        None,
        None,
        "urn:reconciler:vm:v1",
        libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    )
    until(lambda: "one" in world.news)
    assert world.changed() == {"web"}
    assert world.domain("web").applied is None
    assert world.domain("web").applied_live is not None


def test_volumes_and_pools(world):
    pool = world.nodes["one"].storagePoolLookupByName("default")
    pool.createXML("<volume><name>v1</name><capacity>4096</capacity></volume>")
    assert world.changed() == set()
    assert world.before["one"].pools["default"].volumes == {"v1"}
    pool.destroy()
    world.changed()
    assert not world.before["one"].pools["default"].active
    assert world.before["one"].pools["default"].available == 0


def test_a_pool_nearly_full_is_a_warning_on_a_ready_host(world):
    pool = world.nodes["one"].storagePoolLookupByName("default")
    capacity = world.before["one"].pools["default"].capacity
    xml = (
        f"<volume><name>big</name><capacity>{capacity}</capacity><allocation>{capacity}</allocation></volume>"
    )
    pool.createXML(xml)
    host = world.look()["one"]
    assert host.status is HostStatus.READY
    assert "pool default is full" in host.message


def test_a_little_less_free_space_is_no_change(world):
    pool = world.nodes["one"].storagePoolLookupByName("default")
    pool.createXML("<volume><name>v1</name><capacity>4096</capacity><allocation>4096</allocation></volume>")
    world.changed()
    volume = pool.storageVolLookupByName("v1")
    volume.delete()
    pool.createXML("<volume><name>v1</name><capacity>8192</capacity><allocation>8192</allocation></volume>")
    assert world.look() is world.before


def test_networks(world):
    world.nodes["one"].networkLookupByName("default").destroy()
    assert world.look()["one"].networks == frozenset()


def test_an_event_wakes_and_names_the_host(world):
    world.raw("web").destroy()
    until(lambda: world.news)
    assert set(world.news) == {"one"}


def test_a_host_that_left_the_inventory_is_forgotten(world):
    del world.hosts["two"]
    assert set(world.look()) == {"one"}


def test_the_default_test_host():
    observer = Observer("default")
    host = observer.observe({"t": Host("t", "test:///default")})["t"]
    observer.close()
    assert host.known
    assert {domain.name for domain in host.domains.values()} == {"test"}


def test_one_odd_host_does_not_end_the_look(nodes):
    def opener(host, listener):
        if host.name == "odd":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return nodes.open(host, listener)

    observer = Observer("default", opener=opener)
    fleet = observer.observe({"odd": Host("odd", "test:///default"), "fine": nodes.host("fine")})
    observer.close()
    assert fleet["fine"].known
    assert fleet["odd"].status is HostStatus.NO_LIBVIRT
    assert "UnicodeDecodeError" in fleet["odd"].message
