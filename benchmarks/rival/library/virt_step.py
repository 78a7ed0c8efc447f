# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation on one domain: the shape of community.libvirt.virt, which is what people use today."""

import libvirt
from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "uri": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "step": {"type": "str", "required": True},
            "value": {"type": "str"},
        }
    )
    name, step, value = (module.params[key] for key in ("name", "step", "value"))
    conn = libvirt.open(module.params["uri"])
    domain = conn.defineXML(value) if step == "define" else conn.lookupByName(name)
    if step == "start":
        domain.create()
    elif step == "memory":
        domain.setMemoryFlags(int(value), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    elif step == "describe":
        domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, value, None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE
        )
    elif step == "autostart":
        domain.setAutostart(1)
    conn.close()
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
