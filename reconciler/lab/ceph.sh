# The lab's Ceph: one monitor, one manager, one disk. Run by reconciler/lab/ceph.py as
#   unshare --mount --pid --fork --kill-child bash ceph.sh DIR ADDRESS FSID OSD_UUID
#
# This script is process 1 of a pid namespace: when it dies, however it dies, the kernel kills every
# daemon. What a real cluster has on its disks lies in DIR and is found again at the next start.
set -eu
dir=$1 address=$2 fsid=$3 osd=$4
mount -t proc proc /proc
cd "$dir"
mkdir -p run log mon mgr osd
ceph() { command ceph -c "$dir/ceph.conf" --connect-timeout 20 "$@"; }

if [ ! -e made ]; then
    rm -rf mon osd
    mkdir mon osd
    monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:$address:3300,v1:$address:6789]" monmap
    ceph-mon -c ceph.conf --mkfs -i a --monmap monmap --keyring keyring
fi
ceph-mon -c ceph.conf -i a
ceph-mgr -c ceph.conf -i a
if [ ! -e made ]; then
    # Everybody has one of these keys; whoever has none is let in as well (auth_*_required allows it).
    ceph auth import -i keyring
    ceph osd new "$osd"
    ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$osd"
fi
ceph-osd -c ceph.conf -i 0
if [ ! -e made ]; then
    ceph osd pool create rbd 8
    rbd -c ceph.conf pool init rbd
    touch made
fi
# Up is when the pool says how much room it has: before, libvirt would show it as full.
until ceph df --format json | grep -q '"max_avail":[1-9]'; do sleep 0.3; done
touch run/up
# bash reaps the orphans while it waits.
while :; do
    sleep 3600 &
    wait $!
done
