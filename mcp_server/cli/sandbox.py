"""Runs the sandbox: in this process, for a server of ours, or alone as a plain HTTP API."""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from pydantic import SecretStr

from mcp_server.clock import Clock
from mcp_server.http.uvicorn_server import EmbeddedServer, config_for
from mcp_server.sandbox.app import SOURCES, Sandbox
from mcp_server.settings import Settings


@contextlib.asynccontextmanager
async def run_in_process(settings: Settings) -> AsyncIterator[tuple[Settings, str, Path]]:
    """A sandbox on a port that the system chooses, as long as the body runs.

    Gives the settings to use with it, the source ids to show, separated by spaces, and the
    temporary folder that holds the state.
    """
    with tempfile.TemporaryDirectory(prefix="useapi-mcp-") as name, socket.socket() as listener:
        folder = Path(name)
        listener.bind(("127.0.0.1", 0))
        async with EmbeddedServer(_config(settings)).running(listener):
            origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            sources = " ".join(source.id for source in SOURCES if source.good)
            yield _settings_for(settings, origin, folder), sources, folder


def serve(settings: Settings, port: int) -> None:
    """Serve the sandbox alone, until a stop signal."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()  # a reader of the address below may connect at once
        except (OSError, OverflowError) as error:
            print(f"useapi-mcp: port {port} can't be served ({error}).", file=sys.stderr)
            raise SystemExit(2) from None
        chosen = listener.getsockname()[1]
        origin = f"http://127.0.0.1:{chosen}"
        print(
            f"Sandbox of api.useapi.net at {origin} (Ctrl-C ends it). A server uses it with:\n"
            f"USEAPI_BASE_URL={origin} USEAPI_TOKEN=user:1-any useapi-mcp",
            flush=True,
        )
        asyncio.run(uvicorn.Server(_config(settings)).serve(sockets=[listener]))


def _config(settings: Settings) -> uvicorn.Config:
    return config_for(
        Sandbox(job_seconds=settings.sandbox_job_seconds, now=Clock().now),
        lifespan="off",
        timeout_graceful_shutdown=1,
        date_header=False,  # the sandbox tells its own time
    )


def _settings_for(settings: Settings, origin: str, folder: Path) -> Settings:
    """Settings whose API is the sandbox: nothing leaves the machine.

    The files that the user is told of stay, in a folder of their own.
    """
    return settings.model_copy(
        update={
            "base_url": origin,
            "token": SecretStr("user:0-sandbox"),
            "state_dir": folder / "state",
            "database_url": None,
            "output_dir": settings.output_folder() / "sandbox",
        }
    )
