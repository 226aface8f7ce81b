"""Runs Chromium's own EventSource through `sse-fuzz hostile`, in several browsers at once.

Arguments: the program `sse-fuzz`, and how many browsers. `SSE_CHROMEDRIVER` and `SSE_CHROMIUM` name
the driver and the browser. Ends with 1 if a case fails.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

FUZZ, COUNT = sys.argv[1], int(sys.argv[2])
DRIVER = os.environ.get("SSE_CHROMEDRIVER", "chromedriver")
CLIENT = Path(__file__).with_name("chromium.py")


def session(origin):
    options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]}
    if browser := os.environ.get("SSE_CHROMIUM"):
        options["binary"] = browser
    wanted = {"alwaysMatch": {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options}}
    data = json.dumps({"capabilities": wanted}).encode()
    with urllib.request.urlopen(urllib.request.Request(origin + "/session", data)) as answer:
        return f"{origin}/session/{json.load(answer)['value']['sessionId']}"


def main():
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    sessions = []
    try:
        for line in driver.stdout:
            if "started successfully on port" in line:
                origin = "http://127.0.0.1:" + line.rstrip().rstrip(".").rsplit(" ", 1)[1]
                break
        listed = subprocess.run([FUZZ, "hostile", "--list"], capture_output=True, text=True, check=True)
        cases = [line.split()[0] for line in listed.stdout.splitlines()]
        with tempfile.TemporaryDirectory() as folder:
            running = []
            for number in range(COUNT):
                sessions.append(session(origin))
                report = Path(folder, f"{number}.json")
                # One page at a time in each browser; `{ca}` lets the cases with TLS run.
                check = f"env SSE_WEBDRIVER={sessions[-1]} HOSTILE_CA={{ca}} {sys.executable} '{CLIENT}' {{url}} {{types}}"
                command = [FUZZ, "hostile", "--jobs", "1", "--json", report, "--check", check]
                running.append((report, subprocess.Popen(command + cases[number::COUNT], stdout=subprocess.DEVNULL)))
            count, failed = {}, False
            for report, process in running:
                failed |= process.wait() == 1
                for case in json.loads(report.read_text())["cases"]:
                    count[case["verdict"]] = count.get(case["verdict"], 0) + 1
                    if case["verdict"] in ("fail", "warn"):
                        print(case["verdict"], case["id"], "; ".join(case["reasons"]))
                    if case["verdict"] == "fail":
                        print("  " + "\n  ".join(case["evidence"]))
        print(", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items())))
        return int(failed)
    finally:
        for url in sessions:
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()
        driver.terminate()
        driver.wait()


sys.exit(main())
