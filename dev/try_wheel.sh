#!/bin/sh
# The built wheel as a user has it: outside the repository, in an environment of its own, with the sandbox as the API.
# dev/try_wheel.sh [Airflow version]   runs the quickstart, and then the DAG whose prompt is refused.
set -eu
cd "$(dirname "$0")/.."

airflow_version=${1:-3.3.2}
lock=$PWD/dev/constraints/airflow-$airflow_version-py3.11.txt
uv=$(command -v "$PWD/.venv/bin/uv" || command -v uv)
export UV_NATIVE_TLS=1

# An absolute path, or a version.
python=${PYTHON_FOR_WHEEL:-3.11}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
work=$(mktemp -d)
sandbox=
trap '[ -z "$sandbox" ] || kill "$sandbox" 2>/dev/null || true; rm -rf "$work"' EXIT

"$uv" build --quiet --wheel --out-dir "$work/dist" .
mkdir "$work/dags" "$work/videos"
cp example_dags/quickstart.py example_dags/failure_handling.py "$work/dags"
cd "$work"

"$uv" venv --quiet --python "$python" venv
# The lock says which versions, not what to install: only what the wheel asks for.
VIRTUAL_ENV=$work/venv "$uv" pip install --quiet --constraint "$lock" \
    "apache-airflow==$airflow_version" "airflow-provider-grokvideo[sandbox] @ file://$(echo "$work"/dist/*.whl)"
PATH=$work/venv/bin:$PATH

grokvideo-sandbox --port 0 --render-seconds 2 >sandbox.log 2>&1 &
sandbox=$!
for _ in $(seq 150); do
    url=$(sed -n 's/^sandbox ready: //p' sandbox.log)
    [ -z "$url" ] || break
    sleep 0.2
done

export AIRFLOW_HOME=$work/airflow AIRFLOW__CORE__DAGS_FOLDER=$work/dags AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW_CONN_GROKVIDEO_DEFAULT='{"conn_type": "grokvideo", "host": "'$url'", "password": "sandbox-key"}'
export GROKVIDEO_OUTPUT=file://$work/videos/
python -m airflow db migrate >migrate.log 2>&1 || { cat migrate.log; exit 1; }

python -m airflow dags test grokvideo_quickstart >quickstart.log 2>&1 || { tail -40 quickstart.log; exit 1; }
video=$(find "$work/videos" -name '*.mp4')
[ -s "$video" ] || { tail -40 quickstart.log; echo "no video has landed" >&2; exit 1; }
echo "Airflow $airflow_version: the quickstart landed $(wc -c <"$video") bytes"

python -m airflow dags test grokvideo_failure_handling >failure.log 2>&1 || true
reason=$(grep -o 'was rejected by content moderation[^"]*' failure.log | head -1)
[ -n "$reason" ] || { tail -40 failure.log; echo "the refusal was not told" >&2; exit 1; }
echo "Airflow $airflow_version: the refused prompt $reason" | cut -c1-160
