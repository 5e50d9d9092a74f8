#!/bin/sh
# Create the virtual environment in $1: Airflow $AIRFLOW_VERSION, this package, the tools for tests and lint.
set -eu

venv=$1

for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "${python:-}" ]; then
    echo "make: Python 3.11 to 3.14 is needed, and python3 is $(python3 --version 2>&1 || true)." >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "make: $python has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
fi

# Print how long a step runs, every four seconds.
tick() {
    seconds=0
    while sleep 4 </dev/null >/dev/null 2>&1; do
        seconds=$((seconds + 4))
        echo "    $1: $seconds of about $2 s"
    done
}

# step <text> <expected seconds> <command>: run it in the foreground, so that Ctrl-C reaches it.
step() {
    text=$1 expected=$2 code=0
    shift 2
    echo "$text (about $expected s)"
    tick "$text" "$expected" &
    ticker=$!
    "$@" || code=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=
    return "$code"
}
ticker=
trap '[ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true' EXIT

pip() {
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}

# uv is fast, but does not know of pip's own configuration: mirrors, certificates.
uv() {
    UV_NATIVE_TLS=1 VIRTUAL_ENV=$(cd "$venv" && pwd) "$venv/bin/uv" "$@"
}

echo "Creating $venv, once: Python packages for Airflow $AIRFLOW_VERSION, this provider and its tests"
step "creating a virtual environment" 5 "$python" -m venv "$venv"
step "installing the installers" 5 pip install --upgrade pip uv
set -- --editable '.[sandbox]' --group test --group browser --group docs --group lint \
    "apache-airflow==$AIRFLOW_VERSION" apache-airflow-providers-standard
if ! step "installing Airflow $AIRFLOW_VERSION and the tools" 60 uv pip install --quiet "$@"; then
    echo "uv could not install; trying pip." >&2
    step "installing Airflow $AIRFLOW_VERSION and the tools" 180 pip install "$@"
fi
