#!/bin/sh
# make_venv.sh FOLDER: a virtual environment of the first Python that will do, or one sentence that
# says what to install. PYTHON names the one to take. 3.11 comes first: the tests run on it.
set -eu
folder=$1
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3.11 python3.12 python3.13 python3.14 python3 python
fi
no_venv='' too_old=''
for python; do
    # a name may stand for no program, as those of version managers do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        too_old="${too_old:+$too_old, }$python is $version"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        no_venv=${no_venv:-"$python ($version) lacks its venv module; on Debian and Ubuntu install\
 it with: apt-get install python$version-venv"}
    else
        echo "$folder: Python $version ($python)"
        exec "$python" -m venv --clear "$folder"
    fi
done
if [ -n "$no_venv" ]; then
    echo "$no_venv." >&2
else
    echo "celltrain needs Python 3.11 or newer, and there is none called $(echo "$*" |
        sed 's/ /, /g')${too_old:+ ($too_old)}; install one (Debian, Ubuntu: apt-get install\
 python3-venv; macOS: brew install python@3.13), or name yours: make PYTHON=/path/to/python3." >&2
fi
exit 1
