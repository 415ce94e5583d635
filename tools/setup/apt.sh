#!/bin/bash
# Installs Debian packages quietly, in one run, without starting any service that they bring.
#   apt.sh PACKAGE...      UPDATED=1: the package lists are fresh, do not fetch them
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
cd "$(dirname "$0")/../.."
# Two makes at once take turns; apt waits for dpkg's lock only.
mkdir -p .cache
exec 9> .cache/apt.lock
flock 9
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=
trap 'rm -f "$log"; [ -z "$made_policy" ] || rm -f "$policy"' EXIT
# What we install is started by the tests that want it, each with its own files and sockets, never by init.
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  made_policy=1
fi
run() { apt-get -y -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" > "$log" 2>&1 < /dev/null; }
# A run that was killed half way leaves work that apt refuses to go on without.
[ -z "$(ls -A /var/lib/dpkg/updates 2> /dev/null)" ] || dpkg --configure -a > /dev/null 2>&1 < /dev/null || true
if ! run install --no-install-recommends "$@"; then
  # Stale or empty package lists are the usual reason: fetch them once and try again.
  if [ -n "${UPDATED:-}" ] || ! { run update && run install --no-install-recommends "$@"; }; then
    tail -15 "$log" >&2
    exit 1
  fi
fi
