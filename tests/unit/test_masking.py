"""Masked fields in Airflow's UI, plain fields in the task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, ObjectStoragePath

from airflow_provider_grokvideo.api.redaction import redact, redact_text
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.utils.masking import MaskedFields, mask

try:
    from airflow.sdk.definitions._internal.mixins import ResolveMixin
except ImportError:
    from airflow.utils.mixins import ResolveMixin

SIGNATURE = "deadbeef0123456789"
SIGNED = f"https://store.example.com/lake.png?X-Amz-Signature={SIGNATURE}"
BYTES = "iVBORw0KGgo" * 1000
IMAGE = f"data:image/png;base64,{BYTES}"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        7,
        1.5,
        True,
        "s3://bucket/lake.png",
        "s3://conn_id@bucket/lake.png",
        "s3://bucket/What is love?.mp4",
        "file:///videos/#1 hit.mp4",
        "s3://bucket/a?b=c.mp4",
        "/data/lake?.png",
        "https://example.com/lake.png",
        "https://example.com/@me/lake.png",
        "What is it? A lake. 1 + 1 = 2 #nature",
        "Ask: who? a=b",
        "Use data: it is big, and old",
        "mailto:someone@example.com",
        {"file_id": "file-1"},
        ["https://example.com/a.png", "s3://bucket/b.png"],
        {"a": [{"b": 1}, None, False]},
    ],
    ids=str,
)
def test_public_values_are_unchanged(value: Any) -> None:
    assert mask(value) == value


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        (SIGNED, "https://store.example.com/lake.png?***"),
        (SIGNED.replace("https", "HTTPS"), "HTTPS://store.example.com/lake.png?***"),
        (f"  \n{SIGNED}", "  \nhttps://store.example.com/lake.png?***"),
        (f"https://a.example/x?a b={SIGNATURE}", "https://a.example/x?***"),
        (f"https://a.example/x?'{SIGNATURE}'", "https://a.example/x?***"),
        (f"https://a.example/x#access={SIGNATURE}", "https://a.example/x#***"),
        (f"https://user:{SIGNATURE}@a.example/x.png", "https://***@a.example/x.png"),
        (f"https://{SIGNATURE}@a.example/x.png", "https://***@a.example/x.png"),
        (f"https://a@b:{SIGNATURE}@a.example", "https://***@a.example"),
        (f"s3://key:{SIGNATURE}@bucket/x.mp4", "s3://***@bucket/x.mp4"),
        (f"s3://key%3A{SIGNATURE}@bucket/x.mp4", "s3://***@bucket/x.mp4"),
        (f"s3://bucket/x.mp4?sig={SIGNATURE}", "s3://bucket/x.mp4?sig=***"),
        (f"//a.example/x.png?{SIGNATURE}", "//a.example/x.png?***"),
        (f"a.example/x.png?sig={SIGNATURE}", "a.example/x.png?***"),
        (
            f"https://proxy.example/https%3A%2F%2Fa.example%2Fx%3FX-Amz-Signature%3D{SIGNATURE}",
            "https://proxy.example/https%3A%2F%2Fa.example%2Fx?***",
        ),
        (f"Like <img src='{SIGNED}'> but blue", "Like <img src='https://store.example.com/lake.png?***'> but blue"),
        (f"Like {SIGNED} and {SIGNED}", "Like " + " and ".join(["https://store.example.com/lake.png?***"] * 2)),
        (f"see a.example/x?v=1&Signature={SIGNATURE}&w=2", "see a.example/x?v=1&Signature=***&w=2"),
        (IMAGE, "data:image/png;base64,… (11000 characters)"),
        (IMAGE.replace("data:", " DATA:"), "DATA:image/png;base64,… (11000 characters)"),
        (f"data:;base64,{BYTES[:90]}\n{BYTES}", "data:;base64,… (11091 characters)"),
        (f"data:{BYTES}", f"data:{BYTES[:35]}… (11005 characters)"),
        (f"first {IMAGE} then", "first data:image/png;base64,… (11000 characters) then"),
    ],
    ids=lambda text: text.strip()[:40],
)
def test_secrets_in_a_text_are_masked(text: str, shown_as: str) -> None:
    assert mask(text) == shown_as
    assert mask(shown_as) == shown_as
    assert SIGNATURE not in redact(text)
    assert SIGNATURE not in repr(mask({"a": [{text: (text, {text})}]}))


def test_structure_is_unchanged() -> None:
    value = MappingProxyType({"url": SIGNED, "deep": [{"nested": (SIGNED, 3)}], "n": 1, 5: "five"})

    masked = mask(value)

    short = "https://store.example.com/lake.png?***"
    assert masked == {"url": short, "deep": [{"nested": [short, 3]}], "n": 1, 5: "five"}
    assert value["url"] == SIGNED


@pytest.mark.parametrize(
    "value",
    [
        Path(f"/data/x?sig={SIGNATURE}"),
        ObjectStoragePath("s3://bucket/x.png", key="k", secret=SIGNATURE),
        VideoRequest(prompt="p", image=SIGNED, upload_url=SIGNED),
        [VideoRequest(prompt="p", image=IMAGE)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_are_shown_as_masked_text(value: Any) -> None:
    text = json.dumps(mask(value))
    assert SIGNATURE not in text
    assert "iVBORw0KGgo" * 2 not in text


def test_other_objects_are_unchanged() -> None:
    moment = datetime(2026, 1, 1)
    assert mask([moment])[0] is moment


def test_recursive_value_is_masked() -> None:
    value: dict[str, Any] = {"url": SIGNED}
    value["self"] = value

    assert SIGNATURE not in repr(mask(value))


def test_long_text_is_masked_fast() -> None:
    assert redact_text("a" * 3_000_000) == "a" * 3_000_000
    assert redact_text("a?b&" * 500_000 + "=") != ""


# --- fields of a task ----------------------------------------------------------------------------------


class Lazy(Sequence[str]):
    """The type of the output of a mapped task in Airflow."""

    def __init__(self, values: list[str]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]


class Output(ResolveMixin):
    """What Airflow resolves to another task's output."""

    template_fields = ()

    def __init__(self, value: Any) -> None:
        self.value = value

    def iter_references(self) -> Any:
        return iter(())

    def resolve(self, context: Any, *args: Any, **kwargs: Any) -> Any:
        return self.value


def rendered(kind: type[Any] = GrokVideoGenerateOperator, **fields: Any) -> Any:
    """Return a task with its templates rendered, as Airflow leaves it before it stores its rendered fields."""
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1)):
        task = kind(task_id="task", **fields)
    task.render_template_fields({"word": "lake", "sign": SIGNATURE})
    return task


def stored(task: Any) -> dict[str, Any]:
    """Do what every version of Airflow does to store rendered fields."""
    return {name: getattr(task, name) for name in task.template_fields}


def test_fields_are_masked_only_while_airflow_reads() -> None:
    fields: dict[str, Any] = {
        "prompt": f"A {{{{ word }}}} like {SIGNED}",
        "image": {"url": "https://a.example/{{ word }}.png?sig={{ sign }}"},
        "reference_images": [SIGNED, IMAGE],
        "video": SIGNED,
        "upload_url": SIGNED,
        "extra": {"webhook": {"urls": [SIGNED]}},
        "output_path": f"s3://key:{SIGNATURE}@bucket/",
        "user": SIGNED,
    }
    task = rendered(**fields)

    shown_fields = stored(task)

    assert set(shown_fields) == set(type(task).template_fields)
    assert SIGNATURE not in json.dumps(shown_fields)
    assert shown_fields["image"] == {"url": "https://a.example/lake.png?***"}
    assert shown_fields["extra"] == {"webhook": {"urls": ["https://store.example.com/lake.png?***"]}}
    assert task.image == {"url": f"https://a.example/lake.png?sig={SIGNATURE}"}
    assert task.prompt == f"A lake like {SIGNED}"
    assert {name: getattr(task, name) for name in fields if name not in {"image", "prompt"}} == {
        name: value for name, value in fields.items() if name not in {"image", "prompt"}
    }
    assert stored(task) == shown_fields


def test_fields_of_a_subclass_are_masked() -> None:
    class Own(GrokVideoGenerateOperator):
        template_fields = (*GrokVideoGenerateOperator.template_fields, "webhook")

        def __init__(self, *, webhook: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.webhook = webhook

    task = rendered(Own, prompt="p", webhook="https://a.example/?token={{ sign }}")

    assert stored(task)["webhook"] == "https://a.example/?***"
    assert task.webhook == f"https://a.example/?token={SIGNATURE}"


def test_sensor_fields_are_masked() -> None:
    task = rendered(GrokVideoSensor, request_id="{{ word }}", output_path=SIGNED)

    assert stored(task)["output_path"] == "https://store.example.com/lake.png?***"
    assert (task.request_id, task.output_path) == ("lake", SIGNED)


def test_value_is_restored_after_a_failed_store() -> None:
    task = rendered(prompt="p", image=SIGNED)
    fields = iter(task.template_fields)
    for name in fields:
        if name == "image":
            break
    assert task.image != SIGNED

    fields.close()

    assert task.image == SIGNED


def test_template_fields_behave_as_a_tuple() -> None:
    task = rendered(prompt="p")

    assert isinstance(task.template_fields, MaskedFields)
    assert "image" in task.template_fields
    assert (*task.template_fields,) == type(task).template_fields
    assert task.template_fields == type(task).template_fields


def test_rendered_value_is_not_rendered_again() -> None:
    task = rendered(prompt="{{ '{{ word }}' }}", image=Output("{{ word }}"), extra={"a": Output(["{{ word }}"])})

    task.render_template_fields({"word": "changed"})

    assert (task.prompt, task.image, task.extra) == ("{{ word }}", "{{ word }}", {"a": ["{{ word }}"]})


def test_paths_and_lazy_sequences_are_serializable() -> None:
    task = rendered(
        prompt="p",
        image=Path("/data/{{ word }}.png"),
        reference_images=Output(Lazy([SIGNED])),
        output_path=Path("/x/y"),
    )

    assert (task.image, task.output_path, task.reference_images) == ("/data/lake.png", "/x/y", [SIGNED])
    assert stored(task)["reference_images"] == ["https://store.example.com/lake.png?***"]
