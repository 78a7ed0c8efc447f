# Facts about a libvirt host for `reconciler doctor`, one key=value a line. POSIX sh; reads, changes nothing.
# $1: the pool's folder, or empty.
echo "date=$(date +%s)"
echo "user=$(id -un)"
echo "python=$(python3 --version 2>/dev/null)"
[ -e /dev/kvm ] && echo "kvm=present" || echo "kvm=absent"
grep -qE '^flags.*( vmx| svm)( |$)' /proc/cpuinfo 2>/dev/null && echo "cpu_flags=yes" || echo "cpu_flags=no"
grep -qE '^flags.* hypervisor( |$)' /proc/cpuinfo 2>/dev/null && echo "nested=yes" || echo "nested=no"
echo "selinux=$(getenforce 2>/dev/null)"
conf=/etc/libvirt/qemu.conf
if [ -r "$conf" ]; then
    echo "lock_manager=$(sed -n 's/^ *lock_manager *= *"\(.*\)".*/\1/p' "$conf" | tail -n 1)"
elif [ -e "$conf" ] || ! [ -x /etc/libvirt ]; then
    echo "qemu_conf=unreadable"
fi
folder=$1
while [ -n "$folder" ] && [ -d "$folder" ]; do
    echo "folder=$(stat -L -c '%a %u %g' "$folder") $folder"
    [ "$folder" = / ] && break
    folder=$(dirname "$folder")
done
