"""The server's page in a real browser, with its keys alone, and what it loads.

Slow: a browser and a server are started. Skipped where there is no Chromium with its driver
(Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.synthesis import synthesize

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs Selenium, of the extra 'dev'")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and chromedriver"),
]

SOON = 60.0
_DROP = """
const [base64, name] = arguments;
const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, { type: "audio/wav" }));
for (const kind of ["dragover", "drop"])
  document.body.dispatchEvent(
    new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
"""


@pytest.fixture(scope="module")
def url(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text("sesame\n", "utf-8")
    command = [sys.executable, "-m", "asr_llm.cli", "serve", "--port", "0", "--model", str(lively)]
    command += ["--api-key-file", str(keys), "--alias", "whisper-1=model"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert " at http" in line, line
    yield line.split(" at ")[1].split("/v1")[0] + "/"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SOON)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    downloads = {"download.default_directory": str(tmp_path / "downloads")}
    options.add_experimental_option("prefs", downloads)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "my visit.wav"
    soundfile.write(path, synthesize("Number one, tea.", "en-us").samples, SAMPLE_RATE)
    return path


def focused(browser: Any) -> str:
    return str(browser.execute_script("return document.activeElement.id"))


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def tab_to(browser: Any, name: str) -> None:
    for _ in range(20):
        if focused(browser) == name:
            return
        press(browser, Keys.TAB)
    raise AssertionError(f"no way to {name} by the tabulator")


def text_of(browser: Any, name: str) -> str:
    return str(
        browser.execute_script("return document.getElementById(arguments[0]).innerText", name)
    )


def is_done(browser: Any) -> bool:
    assert text_of(browser, "problem") == ""
    return bool(browser.execute_script("return !running && done !== null"))


def until(browser: Any, true: Any) -> Any:
    return WebDriverWait(browser, SOON).until(lambda _: true())


def unlock(browser: Any, url: str) -> None:
    """Give the key, once the page asks for it."""
    browser.get(url)
    until(browser, lambda: "asks for a key" in text_of(browser, "problem"))
    tab_to(browser, "key")
    press(browser, "sesame", Keys.TAB)
    until(browser, lambda: text_of(browser, "problem") == "")
    until(browser, lambda: browser.execute_script("return models.size") == 2)


def hosts(browser: Any) -> set[str]:
    """All that the browser asked for, by where it is."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    found = {params["request"]["url"] for params in asked}
    return {re.sub(r"^(\w+://[^/]*/|\w+:).*", r"\1", each, flags=re.S) for each in found}


def test_from_the_keyboard(browser: Any, url: str, recording: Path, tmp_path: Path) -> None:
    unlock(browser, url)
    tab_to(browser, "file")
    browser.switch_to.active_element.send_keys(str(recording))  # what the file dialog would give
    tab_to(browser, "terms")
    press(browser, "tea")
    tab_to(browser, "go")
    press(browser, Keys.ENTER)
    until(browser, lambda: is_done(browser))
    assert focused(browser) == "heading"
    text = browser.execute_script("return done.text")
    shown = browser.execute_script(
        "return [...document.querySelectorAll('li > span')].map(e => e.innerText.trim()).join(' ')"
    )
    assert shown == text

    tab_to(browser, "sure")
    press(browser, *[Keys.ARROW_RIGHT] * 10)  # nobody is that sure
    assert text_of(browser, "percent") == "100%"
    unsure = "return document.querySelectorAll('.unsure[role=button]').length"
    assert browser.execute_script(unsure) == len(text.split())
    press(browser, *[Keys.ARROW_LEFT] * 20)
    assert browser.execute_script(unsure) == 0
    press(browser, *[Keys.ARROW_RIGHT] * 20)
    tab_to(browser, "srt")
    press(browser, Keys.ENTER)
    file = tmp_path / "downloads" / "my visit.srt"
    until(browser, file.exists)
    assert file.read_text("utf-8") == browser.execute_script("return done.srt")
    tab_to(browser, "txt")
    press(browser, Keys.TAB)  # the first of the words that are to be checked
    assert browser.execute_script("return document.activeElement.className") == "unsure"
    press(browser, Keys.ENTER)
    until(
        browser,
        lambda: browser.execute_script("return document.querySelector('audio').played.length"),
    )
    assert hosts(browser) <= {url, "blob:", "data:"}
    assert not [
        entry for entry in browser.get_log("browser") if "Security Policy" in entry["message"]
    ]


def test_a_recording_that_is_dropped(browser: Any, url: str, recording: Path) -> None:
    import base64

    unlock(browser, url)
    browser.execute_script(_DROP, base64.b64encode(recording.read_bytes()).decode(), "a.wav")
    until(browser, lambda: is_done(browser))
    word = browser.execute_script("return done.text.split(' ')[0]")
    tab_to(browser, "terms")
    press(browser, word)
    tab_to(browser, "go")
    press(browser, Keys.ENTER)  # the same recording again, with a list
    until(browser, lambda: is_done(browser))
    marked = browser.execute_script(
        "return [...document.querySelectorAll('mark')].map(e => e.innerText)"
    )
    assert word.strip(".,").casefold() in {found.strip(".,").casefold() for found in marked}


def test_non_audio_files(browser: Any, url: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    file.write_text("<script>alert(1)</script>", "utf-8")
    unlock(browser, url)
    tab_to(browser, "file")
    browser.switch_to.active_element.send_keys(str(file))
    tab_to(browser, "go")
    press(browser, Keys.ENTER)
    until(browser, lambda: "cannot be decoded as audio" in text_of(browser, "problem"))
    assert focused(browser) == "go"
    assert text_of(browser, "status") == ""
