"""Run the benchmarks: ``python -m benchmarks [names…] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.harness import ROOT, in_own_process, measure
from benchmarks.tls import make_certificate

NAMES = ("cpu_per_poll", "bursts", "waits", "pacing", "imports", "gallery", "saving", "whole_path")
PACKAGES = (
    "apache-airflow", "aiohttp", "httpx", "requests", "apache-airflow-providers-http",
    "apache-airflow-providers-dbt-cloud", "apache-airflow-providers-openai", "apache-airflow-providers-anthropic",
)  # fmt: skip


def machine() -> dict[str, object]:
    """Where and with what the figures were measured."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "packages": found,
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which; default: all of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="a fraction of the load: a smoke test, no figures")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "latest.json")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    report: dict[str, object] = {"machine": machine(), "quick": arguments.quick}
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="grokvideo-bench-") as home:
        authority, *_ = make_certificate(Path(home))
        os.environ |= {
            "BENCH_HOME": home,
            "SSL_CERT_FILE": str(authority),
            "REQUESTS_CA_BUNDLE": str(authority),
            "AIRFLOW_HOME": str(Path(home) / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        for name in arguments.names or NAMES:
            table = in_own_process(measure, name, arguments.quick)
            print(f"{table}\n", flush=True)
            report[name] = table.as_json()
            missed += [f"{name}: {bar.what}" for bar in table.bars if not bar.is_met]
    report["missed"] = missed
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{f'{len(missed)} bars are missed' if missed else 'All bars are met'}; figures in {arguments.out}")
    return int(bool(missed) and not arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
