# Open vSwitch on a lab host, all in user space (datapath_type=netdev). Run on the host as
#   bash ovs.sh DIR
# by boot.sh, where the host has one already, and by `LabHost.start_ovs`. What runs is left alone.
set -eu
dir=$1
export OVS_RUNDIR=/run/openvswitch OVS_LOGDIR=/var/log/openvswitch OVS_DBDIR=/etc/openvswitch
mkdir -p "$dir/etc" "$dir/lib" "$dir/log" "$OVS_RUNDIR"
# Where ovs-vsctl, and so libvirt, looks without being told.
mountpoint -q /etc/openvswitch || mount --bind "$dir/etc" /etc/openvswitch
mountpoint -q /var/lib/openvswitch || mount --bind "$dir/lib" /var/lib/openvswitch
mountpoint -q /var/log/openvswitch || mount --bind "$dir/log" /var/log/openvswitch
runs() { kill -0 "$(cat "$OVS_RUNDIR/$1.pid" 2>/dev/null)" 2>/dev/null; }

db=/etc/openvswitch/conf.db
[ -e $db ] || ovsdb-tool create $db /usr/share/openvswitch/vswitch.ovsschema
if ! runs ovsdb-server; then
    ovsdb-server --detach --no-chdir --pidfile --log-file -vconsole:off --remote="punix:$OVS_RUNDIR/db.sock" $db
    ovs-vsctl --no-wait init
    # Cards of guests that died with the host.
    for port in $(ovs-vsctl --no-wait --bare --columns=name find interface type=\"\"); do
        [ -e "/sys/class/net/$port" ] || ovs-vsctl --no-wait --if-exists del-port "$port"
    done
fi
runs ovs-vswitchd || ovs-vswitchd --detach --no-chdir --pidfile --log-file -vconsole:off
ovs-vsctl --may-exist add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev
