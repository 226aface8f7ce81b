"""OpenAI's client for Python, and a server that misbehaves: `pytest` with sse-fuzz on the PATH."""

import subprocess

import httpx2
import openai
import pytest


@pytest.fixture(scope="module")
def double():
    """What makes a base URL of a trouble."""
    command = ["sse-fuzz", "hostile", "--dialect", "openai"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    well = server.stdout.readline().strip()
    yield lambda trouble: well.replace("openai.well", f"openai.{trouble}")
    server.kill()


def answer(base_url):
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=3, timeout=2)
    messages = [{"role": "user", "content": "Hi"}]
    stream = client.chat.completions.create(model="double", messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


@pytest.mark.parametrize("trouble", ["well", "bytes", "slow", "odd", "gzip", "limited", "down"])
def test_the_whole_answer_comes(double, trouble):
    assert answer(double(trouble)) == "Hello, wörld"


@pytest.mark.parametrize("trouble", ["cut", "reset", "stall", "error"])
def test_an_answer_that_breaks_off_is_an_error(double, trouble):
    with pytest.raises((openai.APIError, httpx2.TransportError)):
        answer(double(trouble))
