#!/bin/bash
# npm packages as locked. Runs when package.json, package-lock.json or .npmrc are newer than what is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
want=$(sha256sum package-lock.json .npmrc | sha256sum | cut -d' ' -f1)
stamp=node_modules/.skoopline-lock
if [ "$(cat "$stamp" 2> /dev/null)" != "$want" ] && ! npm ls --all > /dev/null 2>&1; then
  echo 'setup: installing npm packages as locked'
  if ! NODE_NO_WARNINGS=1 npm ci --silent < /dev/null; then
    echo 'setup: npm ci failed; see the lines above.' >&2
    exit 1
  fi
fi
echo "$want" > "$stamp"
touch node_modules/.package-lock.json
