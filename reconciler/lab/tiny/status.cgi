#!/bin/sh
# What the tiny guest says of itself, one `key=value` a line, sizes in kB.
printf 'Content-Type: text/plain\r\n\r\n'
echo "hostname=$(hostname)"
echo "uptime=$(cut -d' ' -f1 /proc/uptime)"
echo "boots=$(cat /disk/boots 2>/dev/null)"
echo "cpus=$(grep -c ^processor /proc/cpuinfo)"
echo "memory=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
echo "disks=$(ls /sys/block | grep -E '^(vd|sd|hd)' | tr '\n' ' ')"
echo "addresses=$(ip -o -4 address | awk '{ print $2 "=" $4 }' | tr '\n' ' ')"
# By disk: its size in bytes. By card: its hardware address.
echo "sizes=$(cd /sys/block && for disk in vd* sd*; do
    [ -e "$disk" ] && echo "$disk=$(($(cat "$disk/size") * 512))"
done | tr '\n' ' ')"
echo "serials=$(cd /sys/block && for disk in vd*; do
    [ -e "$disk" ] && echo "$disk=$(cat "$disk/serial")"
done | tr '\n' ' ')"
echo "links=$(cd /sys/class/net && for link in eth*; do
    [ -e "$link" ] && echo "$link=$(cat "$link/address")"
done | tr '\n' ' ')"
echo "online=$(cat /sys/devices/system/cpu/online)"
