"""The connection form in a browser: fill, save, edit and test a connection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import Connection
from conftest import BrowserEnv

from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.connection_form import FIELDS
from airflow_provider_grokvideo.hooks.connection import settings_of
from airflow_provider_grokvideo.sandbox import Sandbox
from dev.airflow_client import AirflowApiError
from dev.processes import free_port

GOOD_KEY = "a-good-key"
SETTLED = 600
"""Milliseconds after which a section is unfolded and a message has come to rest."""
FILLED = {
    "model": "grok-imagine-video-1.5",
    "request_timeout": "45.5",
    "max_requests_per_second": "7",
    "ledger_path": "s3://bucket/ledger/",
    "proxy": "http://user:secret@proxy.example:3128",
    "verify": "false",
}


class Form:
    """The dialog in which a connection is added or edited."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog")

    def name(self, conn_id: str) -> None:
        self.dialog.locator("[name=connection_id]").fill(conn_id)

    def field(self, label: str) -> Any:
        """The input that a label of the form belongs to."""
        return self.dialog.get_by_label(label, exact=True)

    def extra(self, name: str) -> Any:
        """The input of one of the extra fields."""
        label = FIELDS[name]["label"]
        # Airflow ties the labels of its extra fields to some of the inputs only.
        return self.dialog.locator(f"#element_{name}").or_(self.field(label))

    def open_section(self, name: str) -> None:
        """Unfold a section, if it is not."""
        button = self.dialog.get_by_role("button", name=name, exact=True)
        if button.get_attribute("aria-expanded") != "true":
            button.click()

    def choose_type(self, name: str) -> None:
        self.dialog.get_by_role("combobox").click()
        self.page.keyboard.type(name)
        self.page.get_by_role("option", name=name, exact=True).click()

    def save(self) -> None:
        self.dialog.get_by_role("button", name="Save").click()
        self.dialog.wait_for(state="hidden")


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(api_key=GOOD_KEY) as sandbox:
        yield sandbox


@pytest.fixture
def open_list(browser_env: BrowserEnv, browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the list of connections, signed in."""
    contexts = []

    def open_list(theme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        contexts.append(context)
        token = browser_env.client._http.headers["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "_token", "value": token, "url": browser_env.airflow.base_url}])
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.goto(f"{browser_env.airflow.base_url}/connections")
        return page

    yield open_list
    for context in contexts:
        context.close()


@pytest.fixture
def added(browser_env: BrowserEnv) -> Iterator[Callable[..., str]]:
    """Return a function that stores a connection without the form; all of the test's are deleted after it."""
    names = []

    def add(conn_id: str, **fields: Any) -> str:
        names.append(conn_id)
        if fields:
            browser_env.client.call(
                "POST", "/connections", json={"connection_id": conn_id, "conn_type": "grokvideo", **fields}
            )
        return conn_id

    yield add
    for name in names:
        # A form that was not saved has left nothing.
        with suppress(AirflowApiError):
            browser_env.client.call("DELETE", f"/connections/{quote(name)}")


def add_connection(page: Any) -> Form:
    page.get_by_role("button", name="Add Connection").first.click()
    form = Form(page)
    form.choose_type("Grok Video")
    return form


def row_of(page: Any, conn_id: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_text(conn_id, exact=True))


def edit_connection(page: Any, conn_id: str) -> Form:
    row_of(page, conn_id).get_by_role("button", name="Edit Connection").click()
    form = Form(page)
    form.dialog.get_by_text("Standard Fields").wait_for()
    return form


def stored_settings(browser_env: BrowserEnv, conn_id: str) -> tuple[Settings, str | None]:
    """What a task makes of the connection in the database: its settings and its ledger's place."""
    path = browser_env.airflow.home / f"{conn_id}.json"
    browser_env.airflow.run("connections", "export", str(path), "--file-format", "json")
    fields = json.loads(path.read_text())[conn_id]
    connection = Connection(conn_id=conn_id, **fields)
    return settings_of(connection), connection.extra_dejson.get("ledger_path")


def test_form_hides_unused_fields(open_list: Callable[..., Any]) -> None:
    form = add_connection(open_list())

    form.open_section("Standard Fields")
    assert form.field("Base URL").get_attribute("placeholder") == "https://api.cometapi.com/grok/v1"
    key = form.field("API key")
    assert "https://api.x.ai/v1" in key.get_attribute("placeholder")
    assert key.get_attribute("type") == "password"
    for hidden in ("Login", "Port", "Schema", "Host", "Password"):
        assert form.field(hidden).count() == 0
    form.open_section("Extra Fields")
    for name, field in FIELDS.items():
        form.extra(name).wait_for()
        assert form.dialog.get_by_text(field["label"], exact=True).is_visible()
        assert form.dialog.get_by_text(field["description"]).is_visible()
    assert form.extra("proxy").get_attribute("type") == "password"
    shown = {name: form.extra(name).input_value() for name in FIELDS}
    assert {name: value for name, value in shown.items() if value} == {
        "request_timeout": "30",
        "max_requests_per_second": "20",
        "verify": "true",
        "allow_private_hosts": "true",
    }


def test_connection_is_added_and_edited_in_the_form(
    browser_env: BrowserEnv, api: Sandbox, open_list: Callable[..., Any], added: Callable[..., str]
) -> None:
    conn_id = added("filled")
    page = open_list()
    form = add_connection(page)
    form.name(conn_id)
    form.open_section("Standard Fields")
    form.field("Base URL").fill(api.base_url)
    form.field("API key").fill(GOOD_KEY)
    form.open_section("Extra Fields")
    for name, value in FILLED.items():
        form.extra(name).fill(value)
    form.save()
    row_of(page, conn_id).wait_for()

    expected = Settings(
        base_url=api.base_url,
        api_key=GOOD_KEY,
        model="grok-imagine-video-1.5",
        request_timeout=45.5,
        max_requests_per_second=7.0,
        proxy="http://user:secret@proxy.example:3128",
        verify=False,
    )
    assert stored_settings(browser_env, conn_id) == (expected, "s3://bucket/ledger/")

    # What is edited changes; what is masked, and not touched, stays.
    form = edit_connection(page, conn_id)
    form.open_section("Extra Fields")
    assert form.extra("proxy").input_value() == "***"
    form.extra("model").fill("grok-imagine-video")
    form.extra("verify").fill("true")
    form.save()
    settings, _ = stored_settings(browser_env, conn_id)
    assert (settings.model, settings.verify) == ("grok-imagine-video", True)
    assert (settings.api_key, settings.proxy) == (GOOD_KEY, expected.proxy)

    form = edit_connection(page, conn_id)
    form.open_section("Extra Fields")
    for name in FILLED:
        form.extra(name).fill("")
    form.save()
    settings, ledger_path = stored_settings(browser_env, conn_id)
    assert settings == Settings(base_url=api.base_url, api_key=GOOD_KEY)
    assert not ledger_path


def test_connection_needs_only_the_key(
    browser_env: BrowserEnv, open_list: Callable[..., Any], added: Callable[..., str]
) -> None:
    conn_id = added("only_a_key")
    page = open_list()
    form = add_connection(page)
    form.name(conn_id)
    form.open_section("Standard Fields")
    form.field("API key").fill(GOOD_KEY)
    form.save()
    row_of(page, conn_id).wait_for()

    settings, ledger_path = stored_settings(browser_env, conn_id)
    assert settings == Settings(base_url="https://api.cometapi.com/grok/v1", api_key=GOOD_KEY)
    assert not ledger_path


@pytest.mark.parametrize(
    ("password", "alive", "title", "said"),
    [
        (GOOD_KEY, True, "Successful", "accepts the key and offers"),
        ("a-bad-key", True, "Failed", "rejected the key"),
        ("", True, "Failed", "no API key"),
        (GOOD_KEY, False, "Failed", "No response from"),
    ],
    ids=["good key", "bad key", "no key", "dead host"],
)
def test_test_button_shows_the_error(
    password: str, alive: bool, title: str, said: str, api: Sandbox,
    open_list: Callable[..., Any], added: Callable[..., str],
) -> None:  # fmt: skip
    host = api.base_url if alive else f"http://127.0.0.1:{free_port()}/grok/v1"
    # Airflow 3.3.1 and 3.3.2 refuse to test a connection without a port: their UI sends 0 for none.
    conn_id = added("tested", host=host, password=password, port=0)
    page = open_list()

    row_of(page, conn_id).get_by_role("button", name="Test Connection").click()

    toast = page.locator("[data-scope=toast][data-part=root]").first
    toast.wait_for()
    text = toast.inner_text()
    assert re.search(title, text), text
    assert said in text
    assert host.split("/")[2] in text or not password
    assert GOOD_KEY not in page.content()
    assert api.submissions == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_for_the_documentation(
    theme: str, api: Sandbox, open_list: Callable[..., Any], added: Callable[..., str], images: Path
) -> None:
    suffix = "" if theme == "light" else "-dark"
    page = open_list(theme)
    page.set_viewport_size({"width": 1100, "height": 770})
    form = add_connection(page)
    form.name("grokvideo_default")
    form.open_section("Standard Fields")
    form.field("API key").fill("as long as a key")
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=images / f"connection-form{suffix}.png")
    page.set_viewport_size({"width": 1100, "height": 1200})
    form.open_section("Extra Fields")
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=images / f"connection-form-extra{suffix}.png")

    # grokvideo_default is in the environment here, which goes before the list.
    conn_id = added("grokvideo_sandbox", host=api.base_url, password=GOOD_KEY, port=0)
    page.set_viewport_size({"width": 1100, "height": 420})
    page.reload()
    row_of(page, conn_id).get_by_role("button", name="Test Connection").click()
    page.get_by_text("accepts the key").first.wait_for()
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=images / f"connection-test{suffix}.png")
