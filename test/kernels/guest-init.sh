#!/bin/bash
# Pid 1 of the guest after switch_root: makes the guest a usable machine, runs the command and powers off.
# Kernel command line: skl.repo=WORKING_COPY skl.modules=KERNEL_MODULES. /out is writable and shared with the host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
argument() { tr ' ' '\n' < /proc/cmdline | sed -n "s/^$1=//p"; }

mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mkdir -p /dev/pts /dev/shm /out /lib/modules
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$c" > /sys/fs/cgroup/cgroup.subtree_control; done
ln -sf /proc/self/fd /dev/fd
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 out /out
mount --bind "$(argument skl.modules)" "/lib/modules"
# Most modules load when something asks for them; these are asked for by device.
modprobe -a loop
hostname "skl-$(uname -r | cut -d+ -f1)"
ip link set lo up
ulimit -n 65536
cd "$(argument skl.repo)" || exit 1

. /out/environment
bash /out/command > /out/log 2>&1 < /dev/null
echo $? > /out/exit
cat /proc/uptime > /out/uptime
sync
echo o > /proc/sysrq-trigger
sleep 60
