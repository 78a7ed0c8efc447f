from __future__ import annotations

from reconciler.desired.decode import decode_text
from reconciler.desired.writer import to_yaml
from reconciler.model.envelope import Metadata
from reconciler.model.manifest import ExtraDisk, Interface, RootDisk, VirtualMachine, VirtualMachineSpec
from reconciler.model.storage import Image, ImageSpec


def test_as_a_person_would_write_it() -> None:
    machine = VirtualMachine(
        metadata=Metadata(name="web-1", labels={"app": "web", "version": "1.10", "on": "true"}),
        spec=VirtualMachineSpec(
            cpus=2,
            memory=2 << 30,
            root_disk=RootDisk(size=10 << 30),
            disks=(ExtraDisk(size=64 << 20, name="data"),),
            interfaces=(Interface(network="default", mac="52:54:00:12:34:56"),),
            console=None,
            description="first line\nsecond line",
            stop_timeout=5400,
        ),
    )
    assert to_yaml(machine) == (
        """\
apiVersion: reconciler/v1
kind: VirtualMachine
metadata:
  name: web-1
  labels:
    app: web
    version: '1.10'
    'on': 'true'
spec:
  cpus: 2
  memory: 2Gi
  rootDisk:
    size: 10Gi
  disks:
    - name: data
      size: 64Mi
  interfaces:
    - network: default
      mac: '52:54:00:12:34:56'
  console: null
  description: |-
    first line
    second line
  stopTimeout: 1h30m
"""
    )
    assert decode_text(to_yaml(machine), "x") == (machine,)


def test_an_odd_number_of_bytes_is_a_plain_number() -> None:
    image = Image(metadata=Metadata(name="x"), spec=ImageSpec(path="x"))
    assert to_yaml(image).endswith("spec:\n  path: x\n")
    machine = VirtualMachine(
        metadata=Metadata(name="x"), spec=VirtualMachineSpec(cpus=1, memory=(1 << 20) + 1)
    )
    assert "memory: 1048577\n" in to_yaml(machine)
