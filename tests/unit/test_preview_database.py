"""The preview reads operators from the serialized DAG, without loading code of the DAG."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_1_PLUS

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="reads Airflow 3's database models")
def test_operators_are_read_from_the_serialized_dag() -> None:
    from airflow_provider_grokvideo.plugins.preview.database import parse_operators

    template = {"task_id": "a", "_task_module": OPERATOR, "prompt": "p", "output_path": "{{ x }}", "extra": {}}
    mapped = {"task_id": "m", "_task_module": OPERATOR, "_is_mapped": True, "partial_kwargs": {"model": "g"}}
    other = {"task_id": "z", "_task_module": "other", "output_path": "/etc/"}

    operators = parse_operators({"dag": {"tasks": [{"__var": task} for task in (template, mapped, other)]}})

    assert operators["a"][0] == OPERATOR
    assert operators["a"][1]["prompt"] == "p"
    assert "output_path" not in operators["a"][1]
    assert operators["m"][1]["model"] == "g"
    assert operators["z"] == ("other", {})
