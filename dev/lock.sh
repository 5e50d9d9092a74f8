#!/bin/sh
# Write the lock of one environment of `make test-versions`: dev/lock.sh <Airflow version> <Python version>
# Airflow's own constraints are the better source where they can be reached; these locks are what was tested.
set -eu
cd "$(dirname "$0")/.."

case $1 in
    # What came after these releases and breaks them: a FastAPI that wants a content type or a complete model,
    # a UPath that refuses file:// paths, a PyJWT that refuses an issuer of None, an svcs that starts twice.
    # Airflow 3.0 shows no connection form without FAB.
    3.0.*) known="fastapi<0.118 universal-pathlib<0.3 pyjwt<2.11 flask-jwt-extended<4.7.2 apache-airflow-providers-fab" ;;
    3.2.*) known="fastapi<0.137 svcs<26" ;;
    *) known= ;;
esac
printf '%s\n' "apache-airflow==$1" $known |
    uv pip compile - pyproject.toml --extra sandbox --group pyproject.toml:test \
        --python-version "$2" --no-header --no-annotate --quiet --output-file "dev/constraints/airflow-$1-py$2.txt"
