#!/bin/bash
# Installs the Debian packages that a target needs and this machine lacks, in one apt run.
#   system.sh run|test STAMP
# STAMP is written when nothing is missing, so that the next make need not look.
# What cannot be installed is said in one sentence and is not fatal here: the agent and the test lanes say for
# themselves what they miss.
set -euo pipefail
cd "$(dirname "$0")/../.."
what=${1:?run or test} stamp=${2:?stamp file}
mkdir -p "$(dirname "$stamp")"

# To compile bpf/ and to load it.
run_packages=(clang llvm libbpf-dev libbpf1 linux-libc-dev libc6-dev)
# To make pods, faults, kernels and peers.
test_packages=("${run_packages[@]}" bpftool containerd runc containernetworking-plugins busybox-static iproute2 iptables nftables
  conntrack ethtool procps kmod xz-utils python3 curl ca-certificates openssl tmux prometheus prometheus-node-exporter gcc
  chromium)
# The lane kernels boots amd64 kernels only.
[ "$(uname -m)" != x86_64 ] || test_packages+=(qemu-system-x86)

case $what in
  run) packages=("${run_packages[@]}") ;;
  test) packages=("${test_packages[@]}") ;;
  *) echo "system.sh: unknown set '$what'" >&2; exit 2 ;;
esac

if ! command -v dpkg-query > /dev/null; then
  echo "setup: this is not a Debian machine; install these yourself where they are missing: ${packages[*]}" >&2
  exit 0
fi
missing_now() {
  for p in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2> /dev/null | grep -qx installed || echo "$p"
  done
}
mapfile -t missing < <(missing_now)
if [ ${#missing[@]} = 0 ]; then
  touch "$stamp"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "setup: not root, so these packages are left out: ${missing[*]}" >&2
  exit 0
fi
echo "setup: installing ${missing[*]}"
if tools/setup/apt.sh "${missing[@]}"; then
  touch "$stamp"
  exit 0
fi
# One name that this release does not have must not cost all the others.
for p in "${missing[@]}"; do
  UPDATED=1 tools/setup/apt.sh "$p" 2> /dev/null || echo "setup: $p could not be installed; what needs it will say so." >&2
done
