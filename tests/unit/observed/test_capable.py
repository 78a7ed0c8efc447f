"""What hardware a host can give, from its domain capabilities."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from reconciler.observed.capable import hardware_of

CAPABILITIES = """
<domainCapabilities>
  <os supported='yes'><loader supported='yes'>
    <enum name='type'><value>pflash</value></enum>
    <enum name='secure'><value>yes</value><value>no</value></enum>
  </loader></os>
  <cpu>
    <mode name='host-passthrough' supported='no'/>
    <mode name='host-model' supported='yes'><model>EPYC</model></mode>
    <mode name='custom' supported='yes'>
      <model usable='yes'>qemu64</model><model usable='no'>EPYC</model><model usable='unknown'>odd</model>
    </mode>
  </cpu>
  <devices>
    <graphics supported='yes'><enum name='type'><value>vnc</value></enum></graphics>
    <filesystem supported='yes'>
      <enum name='driverType'><value>path</value><value>virtiofs</value></enum>
    </filesystem>
    <tpm supported='no'><enum name='backendModel'><value>emulator</value></enum></tpm>
  </devices>
</domainCapabilities>
"""


def test_words_for_what_is_there() -> None:
    assert hardware_of(ET.fromstring(CAPABILITIES)) == {
        "virtiofs",
        "secure-boot",
        "graphics:vnc",
        "cpu:host-model",
        "cpu:qemu64",
        "cpu:odd",
    }


def test_nothing_is_said_of_what_is_not_told() -> None:
    assert hardware_of(ET.fromstring("<domainCapabilities/>")) == frozenset()
