#!/bin/sh
# Runs a stage with the Python that has BigLearn's libraries: `sh pipeline/run.sh prepare`. dvc.yaml starts stages with it,
# so that `.venv/bin/dvc repro` works without activating the environment.
# Tried in turn: the Python that runs dvc, python and python3 of PATH, .venv of this folder.
stage=$1
shift

has_libraries() {
    command -v "$1" >/dev/null 2>&1 || [ -x "$1" ] || return 1
    "$1" -c 'import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ("torch", "numba", "omegaconf"))))' 2>/dev/null
}

python_of_dvc() { # the first of the processes above this one that is a Python
    process=$PPID
    while [ "${process:-1}" -gt 1 ] && [ -r "/proc/$process/cmdline" ]; do
        first=$(tr '\0' '\n' <"/proc/$process/cmdline" | head -n 1)
        case ${first##*/} in python*) echo "$first"; return ;; esac
        process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status")
    done
}

for python in "$(python_of_dvc)" python python3 .venv/bin/python; do
    if [ -n "$python" ] && has_libraries "$python"; then
        exec "$python" -m "pipeline.$stage" "$@"
    fi
done
echo "$stage: a Python with torch, numba and omegaconf is needed. Got none on PATH, in .venv or beside dvc. Run" \
    "\`make environment\`, or activate your environment." >&2
exit 1
