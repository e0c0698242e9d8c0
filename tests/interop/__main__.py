"""`make interop`: every client over stdio and over HTTP, and a table of what was seen.

Ends with 1 if one of them could not do its part. An argument runs only the clients it is part of.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp_server.sandbox.app import SOURCES
from tests.interop.listening import Heard, Port
from tests.support.environments import NodeEnvironment, PythonEnvironment, make_all

CLIENTS = Path(__file__).parent / "clients"
LISTENING = Path(__file__).parent / "listening.py"
SERVER = str(Path(sys.executable).with_name("useapi-mcp"))
SOURCE = next(s.id for s in SOURCES if s.good and (s.service, s.kind) == ("dreamina", "video"))
FASTMCP = "fastmcp-tasks==4.1.2"  # 4.1.4 needs a certifi that is not out yet
_STORY_S = 90
_STARTED = re.compile(r"Bearer (\S+)\s.*:(\d+)/mcp", re.DOTALL)
_LAST_LINES = 12

Transport = Literal["stdio", "HTTP"]


@dataclass(frozen=True)
class Client:
    """A client that others wrote.

    Args:
        program: its file in `clients/`.
        option: what else the program gets, like the era it should speak.
        tasks: whether it must have followed the job as a task.
    """

    name: str
    program: str
    environment: PythonEnvironment | NodeEnvironment
    option: str = ""
    tasks: bool = False

    def command(self) -> list[str]:
        """The command that runs its program, in its environment."""
        program = CLIENTS / self.program
        if isinstance(self.environment, PythonEnvironment):
            return [str(self.environment.python), str(program)]
        if program.suffix == ".py":
            return [sys.executable, str(program)]
        for file in (program, CLIENTS / "story.mjs"):  # Node looks for packages beside a program
            shutil.copy(file, self.environment.folder)
        return self.environment.script(f"../{program.name}")


def all_clients() -> list[Client]:
    typescript_2 = NodeEnvironment("typescript-client", ("@modelcontextprotocol/client@2.4.0",))
    typescript_1 = NodeEnvironment("typescript-sdk", ("@modelcontextprotocol/sdk@1.32.2",))
    typescript_1_11 = NodeEnvironment("typescript-sdk-1.11", ("@modelcontextprotocol/sdk@1.11.0",))
    inspector = NodeEnvironment("inspector", ("@modelcontextprotocol/inspector@2.12.0",))

    def python(name: str, *pins: str) -> PythonEnvironment:
        return PythonEnvironment(name, pins)

    return [
        Client("mcp 2.3.0", "python_2.py", python("python-2", "mcp==2.3.0")),
        Client("mcp 1.30.0", "python_1.py", python("python-1", "mcp==1.30.0")),
        # Two that know no kind of content but text, images, audio and embedded resources.
        Client("mcp 1.9.4", "python_1.py", python("python-1.9", "mcp==1.9.4", "pydantic<2.11")),
        Client("TypeScript sdk 1.11.0", "typescript_sdk.mjs", typescript_1_11),
        Client("TypeScript client 2.4.0", "typescript_client.mjs", typescript_2),
        Client("TypeScript client 2.4.0, auto", "typescript_client.mjs", typescript_2, "auto"),
        Client("TypeScript sdk 1.32.2", "typescript_sdk.mjs", typescript_1),
        Client(
            "fastmcp 4.1.2, fastmcp-tasks",
            "with_fastmcp.py",
            python("fastmcp", "fastmcp==4.1.2", FASTMCP),
            tasks=True,
        ),
        Client(
            "langchain-mcp-adapters 0.3.2",
            "langchain.py",
            python("langchain", "langchain-mcp-adapters==0.3.2"),
        ),
        Client(
            "openai-agents 0.24.0",
            "openai_agents.py",
            python("openai-agents", "openai-agents==0.24.0"),
        ),
        Client(
            "pydantic-ai 2.68.0, mcp-tasks",
            "with_pydantic_ai.py",
            python("pydantic-ai", "pydantic-ai-slim[mcp,mcp-tasks]==2.68.0", FASTMCP),
            tasks=True,
        ),
        Client(
            "google-genai 3.6.1",
            "with_google_genai.py",
            python("google-genai", "google-genai==3.6.1", "mcp==2.3.0"),
        ),
        Client(
            "google-adk 2.13.0",
            "with_google_adk.py",
            python("google-adk", "google-adk[mcp]==2.13.0"),
        ),
        Client(
            "smolagents 1.26.0",
            "with_smolagents.py",
            python("smolagents", "smolagents[mcp]==1.26.0", "mcp==1.30.0"),
        ),
        Client("Inspector 2.12.0, legacy", "inspector.py", inspector, "legacy"),
        Client("Inspector 2.12.0, modern", "inspector.py", inspector, "modern", tasks=True),
    ]


@dataclass(frozen=True)
class Row:
    """What came of one client over one transport; `fault` is empty if all went well."""

    client: str
    transport: Transport
    heard: Heard
    fault: str
    seconds: float

    def __str__(self) -> str:
        reads = self.heard.count("tasks/get")
        return (
            f"{self.client:30} {self.transport:6} {self.heard.era:11}"
            f"{self.heard.count('tools/call'):6} {reads or '-':>6}  "
            f"{'FAILED' if self.fault else 'ok'} ({self.seconds:.0f} s)"
        )


def tried(client: Client, transport: Transport, folder: Path) -> Row:
    """Let a client do its part against a server of its own."""
    began, fault, heard = time.monotonic(), "", Heard(b"")
    record = folder / "stdio"
    record.touch()
    with contextlib.ExitStack() as stack:
        given: dict[str, Any] = {"source": SOURCE, "option": client.option}
        if client.program == "inspector.py":
            assert isinstance(client.environment, NodeEnvironment)
            launcher = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
            given["inspector"] = client.environment.script(launcher)
        if transport == "stdio":
            own_folder = ["env", f"USEAPI_OUTPUT_DIR={folder}"]
            recorder = [*own_folder, sys.executable, str(LISTENING), str(record)]
            given["command"] = [*recorder, SERVER, "--sandbox"]
        else:
            port = stack.enter_context(contextlib.closing(Port()))
            given["token"] = stack.enter_context(serving(port, folder / "stderr"))
            given["url"] = f"http://127.0.0.1:{port.number}/mcp"
        try:
            subprocess.run(
                [*client.command(), json.dumps(given)],
                cwd=folder,
                check=True,
                timeout=_STORY_S,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            output = error.output or ""
            text = output if isinstance(output, str) else output.decode(errors="replace")
            fault = "\n".join(text.splitlines()[-_LAST_LINES:]) or str(error)
        heard = Heard(record.read_bytes()) if transport == "stdio" else port.heard()
    if not fault and heard.count("tools/call") == 0:
        fault = "It called no tool."
    if client.tasks and not fault and heard.count("tasks/get") == 0:
        fault = "It followed no task."
    return Row(client.name, transport, heard, fault, time.monotonic() - began)


@contextlib.contextmanager
def serving(port: Port, errors: Path) -> Iterator[str]:
    """`useapi-mcp --sandbox http` behind a port that listens in; gives its token."""
    options = ["--port", "0", "--allowed-host", f"127.0.0.1:{port.number}"]
    with (
        errors.open("w") as said,
        subprocess.Popen(
            [SERVER, "--sandbox", "http", *options],
            stderr=said,
            env={**os.environ, "USEAPI_OUTPUT_DIR": str(errors.parent)},
        ) as server,
    ):
        try:
            while not (found := _STARTED.search(errors.read_text())):
                assert server.poll() is None, errors.read_text()
                time.sleep(0.05)
            port.lead_to(int(found[2]))
            yield found[1]
        finally:
            server.terminate()


def main(wanted: str = "") -> int:
    rows: list[Row] = []
    head = f"{'client':30} {'over':6} {'era':11}{'calls':>6} {'tasks':>6}  result"
    clients = [client for client in all_clients() if wanted in client.name]
    make_all(client.environment for client in clients)
    print(head, flush=True)
    transports: tuple[Transport, ...] = ("stdio", "HTTP")
    for client in clients:
        for transport in transports:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(tried(client, transport, Path(folder)))
            print(rows[-1], flush=True)
            if rows[-1].fault:
                print(f"    {rows[-1].fault.replace(chr(10), chr(10) + '    ')}", flush=True)
    failed = sum(1 for row in rows if row.fault)
    print(f"interop: {len(rows) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
