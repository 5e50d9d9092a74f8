"""The connection form, once, for both ways in which Airflow reads it."""

from __future__ import annotations

from typing import Any

FIELDS: dict[str, dict[str, Any]] = {
    "model": {
        "label": "Model",
        "description": "Default model, for requests that name none: grok-imagine-video.",
        "schema": {"type": ["string", "null"]},
    },
    "request_timeout": {
        "label": "Request timeout",
        "description": "Seconds for one call of the API; default 30.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": 30},
    },
    "max_requests_per_second": {
        "label": "Requests per second",
        "description": "Maximum polls per second, per triggerer; default 20.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": 20},
    },
    "max_submissions_per_second": {
        "label": "Submissions per second",
        "description": "Maximum submissions per second, per process; default 1 on xAI, unlimited elsewhere.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "ledger_path": {
        "label": "Ledger path",
        "description": "Directory, e.g. s3://bucket/ledger/, where tasks note what they paid for. "
        "Needed before Airflow 3.3 where tasks have no output_path.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy": {
        "label": "Proxy",
        "description": "URL of a proxy; default: the one in the environment.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a CA file; default true.",
        "schema": {"type": ["string", "null"], "default": "true"},
    },
    "allow_private_hosts": {
        "label": "Allow private hosts",
        "description": "true, or false to refuse videos at private and link-local addresses; default true.",
        "schema": {"type": ["string", "null"], "default": "true"},
    },
}

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "port", "schema"],
    "relabeling": {"host": "Base URL", "password": "API key"},
    "placeholders": {
        "host": "https://api.cometapi.com/grok/v1",
        "password": "the key of CometAPI, or of xAI with https://api.x.ai/v1",
    },
}
