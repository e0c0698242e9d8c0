"""The command line, as processes of their own: real pipes, real signals, a real vendor's port.

Time is real here, so nothing is asserted of it but that a process ends within a generous limit.
"""

import asyncio
import contextlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

import mcp_server
from mcp_server.cli.main import build_parser, main
from mcp_server.media.probe import probe
from mcp_server.sandbox.app import SOURCES
from tests.support.harness import GOOD, reply
from tests.support.limits import LONGEST_S
from tests.support.serving import rows

EXAMPLES = Path(__file__).parents[1] / "vendor_examples"
VIDEO = GOOD["dreamina", "video"]
TOKEN = "user:777-canary0token"
needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows can't send a child SIGTERM or SIGINT alone"
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Our environment without settings of ours; state, output and temporary files in tmp_path."""
    (tmp_path / "tmp").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("USEAPI_")}
    return own | {
        "USEAPI_STATE_DIR": str(tmp_path / "state"),
        "USEAPI_OUTPUT_DIR": str(tmp_path / "output"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(Path(mcp_server.__file__).parent.parent),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mcp_server", *arguments]


def run(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_program(env, *command(*arguments))


def run_program(env: dict[str, str], *program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        program,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


class Session:
    """A stdio server and what a client writes to it, byte for byte."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            command(*arguments),
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def initialize(self) -> dict[str, Any]:
        """Shake hands; the server is then at work for certain."""
        client = {"name": "test", "version": "1"}
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        self.send(id=1, method="initialize", params=params)
        answer = self.read()
        self.send(method="notifications/initialized")
        return dict(answer["result"])

    def call(self, tool: str, **arguments: Any) -> None:
        self.send(id=2, method="tools/call", params={"name": tool, "arguments": arguments})

    def end(self) -> tuple[int, str, str]:
        """Close its stdin and wait: exit code, what was still unread, stderr."""
        out, err = self.process.communicate(timeout=LONGEST_S)
        return self.process.returncode, out, err


@pytest.fixture
def sessions() -> Iterator[list[Session]]:
    """Those that a failing test left running are ended."""
    started: list[Session] = []
    yield started
    for session in started:
        if session.process.poll() is None:
            session.process.kill()
        session.process.communicate()


def start(sessions: list[Session], env: dict[str, str], *arguments: str) -> Session:
    sessions.append(Session(env, *arguments))
    return sessions[-1]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])

    assert left.value.code == 0
    assert f"useapi-mcp {mcp_server.__version__}\n" == capsys.readouterr().out


def test_what_a_command_does_not_need_is_not_loaded(env: dict[str, str]) -> None:
    """So that the version, help and a wrong setting are there at once."""
    lines = (
        "--version",
        "--help",
        "http --help",
        "check --help",
        "install --help",
        "demo --folder=http",
    )
    code = f"""if True:
        import contextlib, sys
        from mcp_server.cli.main import build_parser
        for line in {lines}:
            with contextlib.suppress(SystemExit):
                build_parser().parse_args(line.split())
        print(*{{"mcp", "httpx", "starlette", "uvicorn"}} & set(sys.modules), file=sys.stderr)"""

    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True, check=True
    ).stderr

    assert "\n" == loaded


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    text = capsys.readouterr().out
    for word in ("--sandbox", "--version", "sandbox", "demo", "USEAPI_TOKEN"):
        assert word in text


def test_help_of_the_sandbox_lists_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sandbox", "--help"])

    text = capsys.readouterr().out
    for source in SOURCES:
        assert f" {source.id}\n      {source.use}" in text


WRONG = [
    ("USEAPI_BASE_URL", "http://api.example.com"),
    ("USEAPI_TOKEN", "user:1-secret word"),
    ("USEAPI_LOG_LEVEL", "loud"),
    ("USEAPI_MAX_JOBS", "51"),
    ("USEAPI_CONFIRM_CREDITS", "-1"),
    ("USEAPI_REPLY_URL", "http://hooks.example.com"),
    ("USEAPI_SANDBOX", "perhaps"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as left:
        main(["check"])

    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.out == ""
    assert re.fullmatch(rf"useapi-mcp: {name}: .+\. Correct it and start again\.\n", printed.err)
    assert value not in printed.err


@pytest.mark.covered
def test_a_process_with_a_wrong_setting_ends_with_exit_code_2(env: dict[str, str]) -> None:
    both = {"USEAPI_CAPTCHA_RETRY": "3", "USEAPI_CAPTCHA_ORDER": "CapSolver"}

    ended = run(env | both, "http")

    assert (2, "") == (ended.returncode, ended.stdout)
    assert len(ended.stderr.splitlines()) == 1
    assert "can't both be set" in ended.stderr


@pytest.mark.parametrize("name", ["USEAPI_MAX_JOBS", "USEAPI_HIDE_ARGUMENTS"])
def test_on_stdio_a_wrong_setting_is_told_at_each_call(
    env: dict[str, str], sessions: list[Session], name: str
) -> None:
    """A host shows nothing but "disconnected" of a server that ends."""
    session = start(sessions, env | {name: "many"}, "--sandbox")

    session.initialize()
    session.call("list_jobs")
    (content,) = session.read()["result"]["content"]

    assert content["text"].startswith(name)
    assert "wrong_setting" == json.loads(content["text"].splitlines()[-1])["code"]
    assert 0 == session.end()[0]


def test_on_stdio_nothing_waits_to_be_sent_after_its_client_has_left(
    env: dict[str, str], sessions: list[Session]
) -> None:
    settings = {"USEAPI_QUEUE_SECONDS": "600", "USEAPI_MAX_JOBS": "1"}
    session = start(sessions, env | settings | {"USEAPI_SANDBOX_JOB_SECONDS": "600"}, "--sandbox")

    session.initialize()
    told = []
    for prompt in ("one", "two"):
        session.call("generate_video", prompt=prompt, service="pixverse", max_credits=1000)
        told.append(session.read()["result"]["content"][0]["text"])

    assert "rate_limited" == json.loads(told[1].splitlines()[-1])["code"]
    assert 0 == session.end()[0]


@pytest.mark.parametrize("command", ["stdio", "http", "check", "demo", "sandbox"])
def test_the_sandbox_may_be_asked_for_before_and_after_a_command(command: str) -> None:
    for line in (["--sandbox", command], [command, "--sandbox"]):
        assert build_parser().parse_args(line).sandbox
    assert not build_parser().parse_args([command]).sandbox


@needs_signals
def test_ctrl_c_ends_a_command_with_130_and_no_traceback(
    env: dict[str, str], request: pytest.FixtureRequest
) -> None:
    # What a shell starts in the background inherits an ignored Ctrl-C, and so would the command.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, inherited))
    with socket.create_server(("127.0.0.1", 0)) as vendor:  # it never answers
        address = f"http://127.0.0.1:{vendor.getsockname()[1]}"
        process = subprocess.Popen(
            command("check"),
            env=env | {"USEAPI_BASE_URL": address, "USEAPI_TOKEN": TOKEN},
            stderr=subprocess.PIPE,
            text=True,
        )
        connected, _ = vendor.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LONGEST_S)
        connected.close()

    assert (130, "") == (process.returncode, err)


@pytest.mark.parametrize("arguments", [["--token", "x"], ["sandbox", "--port", "x"], ["serve"]])
def test_an_unknown_argument_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)

    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: useapi-mcp")


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_one_line(
    port: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["sandbox", f"--port={port}"])

    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"useapi-mcp: port {port} can't be served")


@pytest.mark.covered
@pytest.mark.parametrize(("arguments", "level"), [([], "DEBUG"), (["--sandbox"], "WARNING")])
def test_stdout_holds_nothing_but_the_protocol_and_the_end_of_input_leaves_no_temporary_file(
    env: dict[str, str],
    sessions: list[Session],
    tmp_path: Path,
    arguments: list[str],
    level: str,
) -> None:
    env |= {"USEAPI_LOG_LEVEL": level, "USEAPI_TOKEN": TOKEN}
    session = start(sessions, env, *arguments)

    session.initialize()
    session.call("get_job", job_id="nonsense")
    refusal = session.read()
    session.send(id=3, method="tools/list")
    tools = session.read()
    code, out, err = session.end()

    assert (2, 3) == (refusal["id"], tools["id"])
    assert (0, "") == (code, out)
    assert TOKEN not in err
    assert [] == list((tmp_path / "tmp").iterdir())
    if level == "WARNING":
        assert err == ""


@needs_signals
@pytest.mark.parametrize(
    ("arguments", "number"), [([], signal.SIGTERM), (["--sandbox"], signal.SIGINT)]
)
def test_a_signal_ends_an_idle_server_whose_input_stays_open(
    env: dict[str, str],
    sessions: list[Session],
    tmp_path: Path,
    arguments: list[str],
    number: signal.Signals,
) -> None:
    session = start(sessions, env, *arguments)
    session.initialize()

    session.process.send_signal(number)

    assert session.process.wait(LONGEST_S) == 0
    assert session.process.stderr is not None
    assert session.process.stderr.read() == ""
    assert [] == list((tmp_path / "tmp").iterdir())


@needs_signals
def test_a_client_that_closes_only_its_end_of_stdout_ends_the_server_quietly(
    env: dict[str, str], sessions: list[Session]
) -> None:
    session = start(sessions, env)
    session.initialize()

    assert session.process.stdout is not None
    session.process.stdout.close()

    assert session.process.wait(LONGEST_S) == 0
    assert session.process.stderr is not None
    assert session.process.stderr.read() == ""


@needs_signals
def test_a_start_without_stdin_is_one_line_and_exit_code_2(env: dict[str, str]) -> None:
    closed = ["sh", "-c", f"exec {sys.executable} -m mcp_server <&-"]

    refused = run_program(env, *closed)

    assert refused.returncode == 2
    assert refused.stderr.startswith("useapi-mcp: Standard input or output is closed")
    assert refused.stderr.count("\n") == 1


class SlowVendor(http.server.BaseHTTPRequestHandler):
    """Takes a paid POST, and answers it when `answers` is set."""

    JOB_ID = "j0302140630123456789V-u12345-CA:user@example.com-bot:dreamina"
    arrived: ClassVar[threading.Event]
    answers: ClassVar[threading.Event]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.arrived.set()
        self.answers.wait(LONGEST_S)
        body = json.dumps(
            {
                "jobid": self.JOB_ID,
                "type": "video-upscale",
                "status": "created",
                "created": "2026-04-02T00:24:24.535Z",
                "request": {"jobid": VIDEO},
                "response": {"forecastCost": 30},
                "code": 200,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def vendor(env: dict[str, str]) -> Iterator[type[SlowVendor]]:
    class Vendor(SlowVendor):
        arrived = threading.Event()
        answers = threading.Event()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vendor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        env |= {
            "USEAPI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}",
            "USEAPI_TOKEN": TOKEN,
        }
        yield Vendor
        Vendor.answers.set()
        server.shutdown()
        thread.join()


STOPS = [
    pytest.param(None, id="end of input"),
    pytest.param(signal.SIGTERM, id="SIGTERM", marks=needs_signals),
    pytest.param(signal.SIGINT, id="SIGINT", marks=needs_signals),
    pytest.param(getattr(signal, "SIGHUP", None), id="SIGHUP", marks=needs_signals),
]


@pytest.mark.covered
@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_during_a_paid_request_lets_it_be_written_down(
    env: dict[str, str],
    sessions: list[Session],
    vendor: type[SlowVendor],
    tmp_path: Path,
    stop: signal.Signals | None,
) -> None:
    session = start(sessions, env)
    session.initialize()
    session.call("upscale_video", source=VIDEO)
    assert vendor.arrived.wait(LONGEST_S)

    if stop is not None:
        session.process.send_signal(stop)
    threading.Timer(0.5, vendor.answers.set).start()  # later than the stop has been noticed
    code, _, _ = session.end()

    assert code == 0
    assert [("accepted", vendor.JOB_ID, 1)] == rows(tmp_path)


def test_the_sandbox_may_be_a_setting(env: dict[str, str], sessions: list[Session]) -> None:
    """Or an argument, as everywhere else here."""
    session = start(sessions, env | {"USEAPI_SANDBOX": "true"})

    instructions = session.initialize()["instructions"]
    session.call("get_job", job_id=VIDEO)
    (content,) = session.read()["result"]["content"]

    assert instructions.startswith("SANDBOX: nothing is real or charged.")
    assert "This is the sandbox" in content["text"]
    assert content["text"].splitlines()[1].startswith("http://127.0.0.1:")
    assert session.end()[0] == 0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_main_job_through_the_official_client(
    env: dict[str, str], tmp_path: Path, mode: Any
) -> None:
    """Upscale, interpolate the result, save the file: over stdio, from start to end."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server", "--sandbox"],
        env=env | {"USEAPI_SANDBOX_JOB_SECONDS": "0.2"},
    )

    async def main_job() -> dict[str, Any]:
        async with Client(server, mode=mode) as client:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                return reply(await client.call_tool(tool, arguments)).job

            job = await call("upscale_video", source=VIDEO)
            job = await call("get_job", job_id=job["job_id"], wait_seconds=50)
            job = await call("interpolate_video", source=job["job_id"], fps=60, max_credits=66)
            await call("get_job", job_id=job["job_id"], wait_seconds=50)
            return await call("download_media", job_id=job["job_id"], file_name="smooth")

    job = asyncio.run(asyncio.wait_for(main_job(), LONGEST_S))

    path = Path(job["media"][0]["path"])
    facts = probe(io.BytesIO(path.read_bytes()))
    assert facts is not None
    assert (1280, 720, 60) == (facts.width, facts.height, facts.frame_rate)
    assert tmp_path / "output" / "sandbox" / "smooth.mp4" == path  # and the server has ended


@contextlib.contextmanager
def sandbox(env: dict[str, str]) -> Iterator[str]:
    """`useapi-mcp sandbox --port 0`; gives its address, and sees that it logs nothing."""
    process = subprocess.Popen(
        command("sandbox", "--port", "0"),
        env=env | {"USEAPI_SANDBOX_JOB_SECONDS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert found
        assert f"USEAPI_BASE_URL={found[0]} " in second
        yield found[0]
    finally:
        process.terminate()
        out, err = process.communicate(timeout=LONGEST_S)
    assert ("", "") == (out, err)


@pytest.mark.covered
def test_the_sandbox_on_a_port_tells_one_time(env: dict[str, str]) -> None:
    """Its own: the server that carries it would add another `Date`."""
    with sandbox(env) as address:
        answer = httpx.get(f"{address}/v2/account", trust_env=False)

    assert 1 == len(answer.headers.get_list("date"))


def example(name: str, address: str) -> str:
    """An example of the vendor's pages, with only the host changed."""
    return (EXAMPLES / name).read_text("utf-8").replace("https://api.useapi.net", address)


def test_the_vendors_python_examples_run_against_the_sandbox(env: dict[str, str]) -> None:
    with sandbox(env) as address:
        for page, says in (
            ("dreamina-videos-upscale", r"Upscaled: 1280x720\nVideo URL: http://127"),
            ("dreamina-videos-interpolate", r"Video URL: http://127"),
        ):
            ended = run_program(env, sys.executable, "-c", example(f"{page}.python.txt", address))
            assert (0, "") == (ended.returncode, ended.stderr)
            assert re.search(says, ended.stdout)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.skipif(not shutil.which("sh"), reason="there is no shell that reads the example")
def test_the_vendors_curl_examples_run_against_the_sandbox(env: dict[str, str]) -> None:
    with sandbox(env) as address:
        for page, kinds in (
            ("dreamina-videos-upscale", ["video-upscale"]),
            ("dreamina-videos-interpolate", ["video-interpolate", "video-interpolate"]),
        ):
            ended = run_program(env, "sh", "-c", example(f"{page}.curl.txt", address))
            assert ended.returncode == 0
            assert kinds == re.findall(r'"type": ?"([\w-]+)"', ended.stdout)


def test_a_port_in_use_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as left:
            main(["sandbox", "--port", str(port)])

    printed = capsys.readouterr().err
    assert left.value.code == 2
    assert printed.startswith(f"useapi-mcp: port {port} can't be served")
    assert len(printed.splitlines()) == 1
