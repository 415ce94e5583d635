#!/bin/bash
# Prints the path of helm 3.16.4 in .cache/bin, which Go builds when it is not there (a few minutes, once), or says in one line why not.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v3.16.4 helm=$PWD/.cache/bin/helm
if [ ! -x "$helm" ]; then
  command -v go > /dev/null || { echo "helm is not built: there is no Go here." >&2; exit 3; }
  mkdir -p .cache/bin
  echo "setup: building helm $version" >&2
  GOBIN=$PWD/.cache/bin.$$ GOFLAGS=-buildvcs=false nice go install "helm.sh/helm/v3/cmd/helm@$version" > /tmp/skl-helm.$$ 2>&1 \
    || { echo "helm is not built: $(tail -n1 /tmp/skl-helm.$$)" >&2; rm -rf "/tmp/skl-helm.$$" ".cache/bin.$$"; exit 3; }
  mv ".cache/bin.$$/helm" "$helm"
  rm -rf ".cache/bin.$$" "/tmp/skl-helm.$$"
fi
echo "$helm"
