#!/bin/bash
# Mounts the two kernel file systems that a minimal machine leaves out. Without them probes are off with a reason, so
# failing here is no error.
[ "$(id -u)" = 0 ] || exit 0
[ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing 2> /dev/null
grep -q ' /sys/fs/bpf bpf ' /proc/mounts || mount -t bpf bpf /sys/fs/bpf 2> /dev/null
exit 0
