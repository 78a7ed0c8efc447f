"""The escape hatch: what a user's template may do, and how a refusal reads."""

from __future__ import annotations

import pytest

from reconciler.errors import RenderError
from reconciler.model.domain import Applied, DiskConfig, DomainConfig
from reconciler.push.render import HostTraits, render_domain
from reconciler.push.template import UserTemplate

CONFIG = DomainConfig(
    "web-1<&>",
    "6a2f41a3-c54c-4cf1-8b3e-0123456789ab",
    virt_type="kvm",
    cpus=2,
    memory=1 << 28,
    disks=(DiskConfig("vda", "virtio", "/p/r.qcow2", "qcow2", None, "root"),),
)
MARK = Applied("default", CONFIG.uuid, CONFIG.name, 1, "0" * 32, CONFIG)


def render(text: str, *allow: str) -> str:
    traits = HostTraits(xml_allow=allow)
    return render_domain(CONFIG, MARK, traits, UserTemplate("templates/t.xml.j2", text))


def test_it_sees_the_machine_and_escapes_it() -> None:
    xml = render(
        '<sysinfo type="smbios"><system><entry name="serial">{{ vm.name }}</entry></system></sysinfo>'
    )
    assert '<entry name="serial">web-1&lt;&amp;&gt;</entry>' in xml


def test_it_may_be_wrapped_in_a_domain() -> None:
    assert "<iothreads>1</iothreads>" in render("<domain>\n <iothreads>1</iothreads>\n</domain>\n")


def test_it_replaces_what_we_render_ourselves() -> None:
    xml = render('<cpu mode="host-model"/><devices><memballoon model="none"/></devices>')
    assert xml.count("<cpu ") == 1
    assert xml.count("<memballoon") == 1


@pytest.mark.parametrize(
    "text",
    [
        "<name>evil</name>",
        "<uuid>x</uuid>",
        "<metadata/>",
        "<memory>1</memory>",
        "<seclabel type='none'/>",
        "<os><loader>/etc/shadow</loader></os>",
        "<os firmware='efi'/>",
        "<devices><emulator>/bin/sh</emulator></devices>",
        "<devices><disk type='file'><source file='/etc/shadow'/><target dev='vdz'/></disk></devices>",
        "<devices><interface type='direct'/></devices>",
        "<devices><hostdev mode='subsystem' type='pci'/></devices>",
        "<devices><filesystem><source dir='/'/></filesystem></devices>",
        "<devices><controller type='pci' model='dmi-to-pci-bridge'/></devices>",
        "<devices><graphics type='vnc' listen='0.0.0.0'/></devices>",
        "<devices><graphics type='vnc'><listen type='address' address='192.0.2.1'/></graphics></devices>",
        "<devices><graphics type='vnc'><listen type='network' network='default'/></graphics></devices>",
        "<devices><graphics type='vnc' socket='/run/x'/></devices>",
        "<devices><graphics type='sdl' display=':0'/></devices>",
        "<devices><rng model='virtio'><backend model='random'>/etc/shadow</backend></rng></devices>",
        "<devices><rng><backend model='egd' type='tcp'><source host='192.0.2.1'/></backend></rng></devices>",
        "<devices><tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm></devices>",
        "<devices><input type='evdev'><source dev='/dev/input/event0'/></input></devices>",
        "<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo>",
        "<qemu:commandline><qemu:arg value='-S'/></qemu:commandline>",
        "<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><arg value='-S'/></commandline>",
        "<x:disk xmlns:x='urn:x'/>",
    ],
)
def test_what_reaches_the_host_or_takes_our_part_is_refused(text: str) -> None:
    with pytest.raises(RenderError, match=r"templates/t\.xml\.j2"):
        render(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("<qemu:commandline><qemu:arg value='-S'/></qemu:commandline>", "qemu:commandline"),
        ("<devices><hostdev mode='subsystem' type='usb'/></devices>", "devices/hostdev"),
        ("<devices><graphics type='vnc' listen='0.0.0.0'/></devices>", "devices/graphics"),
        ("<seclabel type='none'/>", "seclabel"),
    ],
)
def test_a_hosts_inventory_widens_it(text: str, path: str) -> None:
    with pytest.raises(RenderError) as refused:
        render(text)
    assert path in str(refused.value)
    assert "reconciler_xml_allow" in str(refused.value)
    assert path.rpartition("/")[2] in render(text, path)


@pytest.mark.parametrize("tag", ["name", "uuid", "metadata"])
def test_identity_is_never_handed_out(tag: str) -> None:
    with pytest.raises(RenderError, match="identity"):
        render(f"<{tag}>x</{tag}>", tag)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ vm.__class__ }}",
        "{{ vm.items() }}",
        "{{ range.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__.os.popen('touch /tmp/x') }}",
        "{{ namespace() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 'a' ~ 'b' }}",
        "{{ 'a' + 'b' }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 9 ** 999999999 }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ vm.name | attr('__class__') }}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{% for a in 'a' %}{% for b in 'b' %}{% for c in 'c' %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(250) %}{% for b in range(250) %}0123456789{% endfor %}{% endfor %}",
        "{{ vm.nothing }}",
        "{{ nothing }}",
        "{{ 1 / 0 }}",
        "{{ range('a') }}",
        "{% if %}",
        "x" * 20_000,
        "just text",
        "<cpu>",
        "<!DOCTYPE d [<!ENTITY a 'b'>]><cpu/>",
        "<cpu>&a;</cpu>",
    ],
)
def test_what_a_template_cannot_do(text: str) -> None:
    with pytest.raises(RenderError, match=r"^templates/t\.xml\.j2"):
        render(text)


def test_a_mistake_is_told_with_its_line() -> None:
    with pytest.raises(RenderError, match=r"^templates/t\.xml\.j2:2: .*no attribute 'mistake'"):
        render("<cpu/>\n<iothreads>{{ vm.mistake }}</iothreads>")
    with pytest.raises(RenderError, match=r"^templates/t\.xml\.j2:3: "):
        render("\n\n{% nonsense %}")
