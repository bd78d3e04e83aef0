#!/usr/bin/env bash
# Train while nobody needs the machine: go on where last night stopped, or begin a new run.
#
#   nightly.sh SECONDS [anything celltrain run takes]
#
# RUNS is the folder for run folders (runs). What is given after SECONDS counts when a run begins.
# Exit 0: complete, or time is up and there is more to do; 1 to 4 as celltrain's.
set -euo pipefail

seconds=${1:?usage: nightly.sh SECONDS [anything celltrain run takes]}
shift
runs=${RUNS:-runs}

newest=$(celltrain ls --output "$runs" | awk 'NR == 2 { print $1 }')
case $newest in
    running) echo "the newest run in $runs is still at work" >&2; exit 0 ;;
    interrupted) command=(resume) ;;
    *) command=(run --name nightly "$@") ;;  # none yet, completed, or failed and left to a person
esac

code=0
celltrain "${command[@]}" --output "$runs" --timeout "$seconds" --progress plain || code=$?
if [ "$code" -eq 124 ]; then
    echo "time is up; the next call goes on" >&2
    exit 0
fi
exit "$code"
