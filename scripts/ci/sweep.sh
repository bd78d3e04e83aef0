#!/usr/bin/env bash
# Try every combination of the values of two keys, then compare the runs.
#
#   sweep.sh KEY 'VALUE VALUE...' KEY 'VALUE VALUE...' [anything celltrain run takes]
#
# RUNS is the folder for run folders (runs/sweep). One that fails does not stop the others; exit 1
# then.
set -euo pipefail

usage="usage: sweep.sh KEY 'VALUE...' KEY 'VALUE...' [anything celltrain run takes]"
key1=${1:?$usage} key2=${3:?$usage}
read -ra values1 <<< "${2:?$usage}"
read -ra values2 <<< "${4:?$usage}"
shift 4
runs=${RUNS:-runs/sweep}

failed=0
for one in "${values1[@]}"; do
    for two in "${values2[@]}"; do
        name=$(printf '%s-%s' "$one" "$two" | tr -c 'A-Za-z0-9._-' '_')
        echo "$key1=$one $key2=$two" >&2
        celltrain run "$@" "$key1=$one" "$key2=$two" --output "$runs" --name "at-$name" \
            --progress plain || failed=1
    done
done

mapfile -t found < <(celltrain ls --output "$runs" | awk 'NR > 1 { print $NF }')
if [ "${#found[@]}" -gt 1 ]; then
    celltrain compare --output "$runs" "${found[@]}"
fi
exit "$failed"
