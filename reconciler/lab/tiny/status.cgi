#!/bin/sh
# What the tiny guest says of itself, one `key=value` a line, sizes in kB.
printf 'Content-Type: text/plain\r\n\r\n'
echo "hostname=$(hostname)"
echo "uptime=$(cut -d' ' -f1 /proc/uptime)"
echo "boots=$(cat /disk/boots 2>/dev/null)"
echo "cpus=$(grep -c ^processor /proc/cpuinfo)"
echo "memory=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
echo "disks=$(ls /sys/block | grep ^vd | tr '\n' ' ')"
echo "addresses=$(ip -o -4 address | awk '{ print $2 "=" $4 }' | tr '\n' ' ')"
