"""``@task.grok_video``: return values, mapping, overrides, rendering and resumption."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator, grok_video_task
from airflow_provider_grokvideo.exceptions import GenerationTimeoutError
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from tests.support.task_run import MemoryStore, TaskRun

FAST = {"poll_interval": 0.05, "timeout": 20}


def run(
    function: Callable[..., Any], *, retries: int = 0, store: Any = None, call: Any = None, **kwargs: Any
) -> TaskRun:
    """Run the task that the decorator makes of a function."""

    def make() -> Any:
        with DAG("decorated", schedule=None, start_date=datetime(2026, 1, 1)):
            decorated = grok_video_task(**{"task_id": "film", "duration": 1, **FAST, **kwargs})(function)
            return (call(decorated) if call else decorated()).operator

    return TaskRun(make, retries=retries, store=store or MemoryStore()).run()


def sent(sandbox: Any, task_run: TaskRun) -> dict[str, Any]:
    """What the API was asked for."""
    (one,) = (each for each in sandbox.submissions if each["request_id"] == task_run.xcoms["request_id"])
    return {"kind": one["kind"], **one["body"]}


def test_decorator_is_found_by_its_name() -> None:
    with DAG("named", schedule=None, start_date=datetime(2026, 1, 1)):

        @task.grok_video(duration=3)
        def film() -> str:
            return "A lake"

        operator = film().operator
    assert isinstance(operator, GrokVideoDecoratedOperator)
    assert isinstance(operator, GrokVideoGenerateOperator)
    assert (operator.task_id, operator.duration) == ("film", 3)


def test_returned_text_is_the_prompt(sandbox: Any, tmp_path: Path) -> None:
    done = run(lambda: "A lake in a text", aspect_ratio="1:1", output_path=f"file://{tmp_path}/")

    assert done.state == "success", done.error
    body = sent(sandbox, done)
    assert (body["prompt"], body["duration"], body["aspect_ratio"]) == ("A lake in a text", 1, "1:1")
    assert Path(done.result["path"].removeprefix("file://")).stat().st_size == done.result["size_bytes"]


def test_returned_dict_overrides_decorator_arguments(sandbox: Any) -> None:
    done = run(lambda: {"prompt": "A lake in a dict", "duration": 2}, aspect_ratio="1:1")

    body = sent(sandbox, done)
    assert (body["prompt"], body["duration"], body["aspect_ratio"]) == ("A lake in a dict", 2, "1:1")


def test_returned_dict_can_request_an_edit(sandbox: Any) -> None:
    video = run(lambda: "A lake").result["video_url"]
    done = run(lambda: {"kind": "edit", "prompt": "Let it snow", "video": video, "duration": None})

    assert done.state == "success", done.error
    assert sent(sandbox, done)["kind"] == "edit"


def test_returned_request_is_sent_unchanged(sandbox: Any) -> None:
    done = run(lambda: VideoRequest(prompt="A lake as a request", duration=2), aspect_ratio="1:1", resolution="720p")

    body = sent(sandbox, done)
    assert (body["prompt"], body["duration"]) == ("A lake as a request", 2)
    assert not {"aspect_ratio", "resolution"} & set(body)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "The function film returned None of type NoneType. Return a prompt, a dict of request fields"),
        (7, "returned 7 of type int"),
        (["A lake"], "returned ['A lake'] of type list"),
        (b"A lake", "of type bytes"),
        ("", "prompt='' is not valid"),
        ({}, "prompt=None is not valid"),
        ({"prompt": 7}, "prompt=7 is not valid"),
        (
            {"prompt": "A lake", "seconds": 3},
            "seconds=3 is not valid. There is no such field. Use prompt, model",
        ),
        ({"prompt": "A lake", "output_path": "/tmp/x"}, "output_path='/tmp/x' is not valid. There is no such field."),
        ({"prompt": "A lake", "duration": 99}, "duration=99 is not valid"),
        ({"prompt": "A lake", "kind": "remix"}, "kind='remix' is not valid"),
        ({"prompt": "A lake", 3: 4}, "3=4 is not valid"),
    ],
    ids=str,
)
def test_invalid_return_value_is_refused(returned: Any, said: str, sandbox: Any) -> None:
    before = len(sandbox.submissions)

    def film() -> Any:
        return returned

    done = run(film, retries=2)

    assert (done.state, done.attempts) == ("failed", 1)
    assert said in str(done.error)
    assert len(sandbox.submissions) == before


def test_function_error_is_raised_and_retried(sandbox: Any) -> None:
    before = len(sandbox.submissions)

    def film() -> str:
        raise LookupError("the catalogue is away")

    done = run(film, retries=1)

    assert (done.state, done.attempts) == ("failed", 2)
    assert isinstance(done.error, LookupError)
    assert len(sandbox.submissions) == before


def test_decorator_refuses_a_prompt() -> None:
    assert "@task.grok_video takes no prompt" in str(run(lambda: "A lake", prompt="Another").error)


HOSTILE = "50 {% off {{ run_label }} {# no #} {{ conn.grokvideo_default.password }}"


def rendered(function: Callable[..., Any], *args: Any, context: dict[str, Any], **kwargs: Any) -> tuple[Any, Any]:
    """Return the task of a function with its templates rendered, and the context for it."""
    with DAG("rendered", schedule=None, start_date=datetime(2026, 1, 1)):
        operator = grok_video_task(duration=1, **FAST, **kwargs)(function)(*args).operator
    context = {**TaskRun(lambda: operator).context(operator), **context}
    operator.render_template_fields(context)
    return operator, context


def test_returned_prompt_is_not_rendered() -> None:
    def film(animal: str, place: str) -> dict[str, Any]:
        return {"prompt": f"A {animal} in {place}, {{{{ run_label }}}}"}

    operator, context = rendered(
        film,
        "lynx",
        "{{ run_label }}",
        context={"run_label": "snow"},
        user="{{ run_label }}",
        extra={"a": "{{ run_label }}"},
    )
    request = operator._request(context)

    assert request.prompt == "A lynx in snow, {{ run_label }}"
    assert (request.user, request.extra) == ("snow", {"a": "snow"})
    assert operator.prompt == request.prompt


@pytest.mark.parametrize(
    "returned",
    [
        HOSTILE,
        {"prompt": HOSTILE, "user": HOSTILE, "extra": {"deep": [{"er": HOSTILE}]}},
        VideoRequest(prompt=HOSTILE, user=HOSTILE, extra={"deep": [HOSTILE]}, image="https://a.example/{{x}}.png"),
    ],
    ids=["text", "mapping", "request"],
)
def test_returned_prompt_is_sent_unchanged(returned: Any, sandbox: Any) -> None:
    done = run(lambda: returned)

    assert done.state == "success", done.error
    body = sent(sandbox, done)
    assert body["prompt"] == HOSTILE
    assert body.get("user", HOSTILE) == HOSTILE
    assert str(body.get("deep", HOSTILE)).count("{{ run_label }}") == 1


def test_rendered_prompt_holds_no_signature(sandbox: Any) -> None:
    done = run(lambda: "A film like https://a.example/x.png?sig=deadbeef")

    assert done.state == "success", done.error
    assert done.deferrals[0].kwargs["request"]["prompt"] == "A film like https://a.example/x.png?***"
    assert sent(sandbox, done)["prompt"] == "A film like https://a.example/x.png?sig=deadbeef"


def test_retry_resumes_the_first_returned_request(sandbox: Any) -> None:
    store, calls = MemoryStore(), []
    sandbox.fault("poll", "bare_id", times=None, prompt_contains="A lake that is resumed")

    def film() -> str:
        calls.append(1)
        return "A lake that is resumed"

    first = run(film, store=store, timeout=0.3)
    sandbox.clear_faults()
    again = run(film, store=store)

    assert isinstance(first.error, GenerationTimeoutError)
    assert again.state == "success", again.error
    assert len(calls) == 2
    assert len([one for one in sandbox.submissions if one["body"]["prompt"] == "A lake that is resumed"]) == 1


def test_retry_with_another_return_value_resumes(sandbox: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    sandbox.fault("poll", "bare_id", times=None, prompt_contains="A lake, first")
    old = run(lambda: "A lake, first", store=store, timeout=0.3).xcoms["request_id"]
    sandbox.clear_faults()

    again = run(lambda: "A lake, second", store=store)

    assert again.state == "success"
    assert again.result["request_id"] == old
    assert "differs from the one that was submitted" in caplog.text
    assert "clear this task" in caplog.text


def test_decorator_supports_mapping_partial_and_override() -> None:
    with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1)) as dag:

        @task.grok_video(duration=3, output_path="s3://bucket/")
        def film(place: str, season: str) -> str:
            return f"{place} in {season}"

        film.partial(place="An oak").expand(season=["spring", "autumn"])
        film.override(task_id="long_film", duration=15)("A mountain", "winter")

    mapped, long = dag.get_task("film"), dag.get_task("long_film")
    assert type(mapped).__name__ == "DecoratedMappedOperator"
    assert mapped.partial_kwargs["duration"] == 3
    assert (long.duration, long.output_path) == (15, "s3://bucket/")


def test_mapped_tasks_submit_their_own_requests(sandbox: Any) -> None:
    def film(season: str) -> str:
        return f"An oak in {season}"

    prompts = {
        sent(sandbox, run(film, call=lambda decorated, s=s: decorated(s)))["prompt"] for s in ("spring", "autumn")
    }

    assert prompts == {"An oak in spring", "An oak in autumn"}
