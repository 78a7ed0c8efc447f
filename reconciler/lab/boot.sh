# The life of one lab host, from the wire to the last process.  Run by reconciler/lab/host.py as
#   unshare --net bash boot.sh wire HOSTDIR NAME ADDRESS/PREFIX VETH BRIDGE CONTROLLER_PID
#
# `wire` runs in the new network namespace but still sees the machine's processes, so it can hang the
# other end of the cable into the controller's namespace.  `run` is process 1 of the host: when it
# dies, however it dies, the kernel kills every process of the host and drops its mounts and links.
set -eu
stage=$1 dir=$2 name=$3 address=$4 veth=$5 bridge=$6 controller=$7
lab=$(dirname "$(dirname "$dir")")

if [ "$stage" = wire ]; then
    # The same card after every reboot: with a new MAC, neighbours would talk to the old one for a while.
    ip=${address%/*}
    mac=$(printf '52:52:%02x:%02x:%02x:%02x' ${ip//./ })
    ip link add eth0 address "$mac" type veth peer name "$veth" netns "$controller"
    nsenter --target "$controller" --net ip link set "$veth" master "$bridge" up
    ip link set lo up
    ip addr add "$address" dev eth0
    ip link set eth0 up
    exec unshare --mount --uts --pid --fork --kill-child bash "$0" run "${@:2}"
fi

hostname "$name"
mount -t proc proc /proc
# A real /run is empty after a reboot, which is how libvirtd knows that no domain has survived one.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock /run/libvirt /run/cgroup
# A fresh /sys shows this host's links; the cgroups below it are the machine's, and LXC needs them.
if mountpoint -q /sys/fs/cgroup; then
    mount --rbind /sys/fs/cgroup /run/cgroup
    mount -t sysfs sysfs /sys
    mount --rbind /run/cgroup /sys/fs/cgroup
    umount -R /run/cgroup
    # On a hybrid machine libvirt would take the empty v2 tree for the real one.
    if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
else
    mount -t sysfs sysfs /sys
fi
mount --bind "$dir/etc" /etc/libvirt
mount --bind "$dir/lib" /var/lib/libvirt
mount --bind "$dir/log" /var/log/libvirt
mount --bind "$lab/cache" /var/cache/libvirt
mount --bind "$dir/images" /var/lib/libvirt/images
# One folder that every host of the lab sees: a shared file system without a server.
mount --bind "$lab/shared" /var/lib/libvirt/shared
if [ -d /etc/ceph ]; then mount --bind "$dir/ceph" /etc/ceph; fi
# Its own home too, or Ansible's temporary files would land in the controller's.
case $dir in /root/*) ;; *) mount --bind "$dir/root" /root ;; esac
mount --bind "$lab/hosts_file" /etc/hosts
mount --bind "$lab/ssh_config" /etc/ssh/ssh_config
mount --bind "$lab/shadow" /etc/shadow
# libvirt plugs autostarted domains into the switch, so it comes first.
if [ -d "$dir/ovs" ]; then bash "${0%/*}/ovs.sh" "$dir/ovs" || echo "no Open vSwitch"; fi
/usr/sbin/sshd -f "$dir/sshd_config"
/usr/sbin/libvirtd --daemon --pid-file /run/libvirt/libvirtd.pid
# bash reaps the orphans of the host while it waits.
while :; do
    sleep 3600 &
    wait $!
done
