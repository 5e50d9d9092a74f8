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

echo "Creating $venv with Airflow $AIRFLOW_VERSION; this takes a minute or two, once."
"$python" -m venv "$venv"
pip="$venv/bin/python -m pip --quiet --disable-pip-version-check"
set -- --editable '.[sandbox]' --group test --group browser --group docs --group lint \
    "apache-airflow==$AIRFLOW_VERSION" apache-airflow-providers-standard
$pip install --upgrade pip uv
# uv is fast, but does not know of pip's own configuration: mirrors, certificates.
if ! UV_NATIVE_TLS=1 VIRTUAL_ENV=$(cd "$venv" && pwd) "$venv/bin/uv" pip install --quiet "$@"; then
    echo "uv could not install; trying pip." >&2
    $pip install "$@"
fi
