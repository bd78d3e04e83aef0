#!/usr/bin/env bash
# Fail a change after which the stages no longer fit the GPU they are meant for. Trains nothing.
#
#   plan-gate.sh GIB [anything celltrain plan takes]
#
# The plan goes to plan.json, to keep as an artifact, and as a table to the log. Exit 3: something
# does not fit, and the sentence says what and by how much; 2: the configuration is wrong.
set -euo pipefail

vram=${1:?usage: plan-gate.sh GIB [anything celltrain plan takes]}
shift
celltrain plan --vram "$vram" "$@"
celltrain plan --vram "$vram" "$@" --json > plan.json
