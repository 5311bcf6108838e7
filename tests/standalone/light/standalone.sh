#!/usr/bin/env bash
# Stands in for bootstrap/standalone.sh: what a master would say lies in a file.
set -euo pipefail
mkdir -p "$HOME/emrctl/bin"
echo "$*" >"$HOME/emrctl/arguments"
if [[ $1 == primary ]]; then echo 'echo "the master has $2 workers"' >"$HOME/emrctl/bin/master"; fi
echo "standalone.sh: $1"
