"""uvicorn inside somebody else's loop: no signals, no lifespan, every client bounded. Stops nothing but itself.

The loop belongs to trading. A failure of the surface is counted and logged, a slow or dead client is dropped, and nothing of it
may come out of a callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from arbitrage.model.settings import WebSettings
from arbitrage.web.counts import Traffic
from arbitrage.web.faults import Faults

MS_S = 1_000
CLOSE_SECONDS_MAX = 0.3
WRITE_BUFFER_BYTES_MAX = 262_144
"""Of one connection; past it whoever writes waits, within the time limit of its request."""


class WebUnavailable(Exception):
    """The surface cannot be served. One line: why, and what to do."""


class BoundedProtocol(H11Protocol):
    """One connection: uvicorn's, with a bound for everything that a client can hold."""

    settings: ClassVar[WebSettings]
    traffic: ClassVar[Traffic]
    faults: ClassVar[Faults]

    def __init__(self, config: uvicorn.Config, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, {**app_state, "abort": self.drop}, _loop)
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_counted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        if self.traffic.connections >= self.settings.connections_max:
            self.traffic.refused += 1
            self.transport = transport
            transport.abort()
            return
        self.traffic.connections += 1
        self.traffic.accepted += 1
        self._is_counted = True
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._await_head()
        self._guarded(lambda: super(BoundedProtocol, self).connection_made(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        if self._is_counted:
            self._is_counted = False
            self.traffic.connections -= 1
            self._guarded(lambda: super(BoundedProtocol, self).connection_lost(exc))

    def data_received(self, data: bytes) -> None:
        if not self._is_counted:
            return
        self._guarded(lambda: super(BoundedProtocol, self).data_received(data))
        is_between = self.cycle is None or self.cycle.response_complete
        if is_between:
            self._await_head()
        else:
            self._head_came()

    def timeout_keep_alive_handler(self) -> None:
        self._guarded(super().timeout_keep_alive_handler)

    def pause_writing(self) -> None:
        self._guarded(super().pause_writing)

    def resume_writing(self) -> None:
        self._guarded(super().resume_writing)

    def drop(self) -> None:
        """Let the connection go at once, with whatever waits for its reader."""
        if self.transport is not None and not self.transport.is_closing():
            self.traffic.dropped += 1
        if self.transport is not None:
            self.transport.abort()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.settings.header_ms_max / MS_S, self._head_is_late)

    def _head_came(self) -> None:
        timer, self._head_timer = self._head_timer, None
        if timer is not None:
            timer.cancel()

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.drop()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Keep a failure here: out of a callback it would reach the loop, and the loop's failures stop the house."""
        with self.faults.contained("connection") as caught:
            work()
        if caught:
            self.drop()


def protocol_of(settings: WebSettings, traffic: Traffic, faults: Faults) -> type[BoundedProtocol]:
    """Make the protocol class of one server."""
    return type("ServerProtocol", (BoundedProtocol,), {"settings": settings, "traffic": traffic, "faults": faults})


class _Quiet(uvicorn.Server):
    """uvicorn's server without signal handlers, which the daemon has itself, and with a bound for the TLS handshake."""

    def __init__(self, config: uvicorn.Config, handshake_s: float, opened: Callable[[], None]) -> None:
        super().__init__(config)
        self._handshake_s = handshake_s
        self._opened = opened

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the socket that was bound."""
        config, loop = self.config, asyncio.get_running_loop()
        kind: Any = config.http_protocol_class

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = kind(config=config, server_state=self.server_state, app_state={}, _loop=loop)
            return made

        handshake_s = self._handshake_s if config.ssl is not None else None
        for each in sockets or ():
            server = await loop.create_server(
                protocol, sock=each, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=handshake_s
            )
            self.servers = [server]
        self.started = True
        self._opened()


class WebServer:
    """One listening server."""

    def __init__(self, settings: WebSettings, application: ASGIApp, traffic: Traffic, faults: Faults) -> None:
        self._settings = settings
        self._application = application
        self._traffic = traffic
        self._faults = faults
        self._server: uvicorn.Server | None = None
        self.port = 0
        """Where it listens; 0 while it does not."""

    @property
    def url(self) -> str:
        """How a browser on this machine reaches it."""
        if self._settings.public_url:
            return self._settings.public_url
        scheme = "https" if self._settings.certificate_file else "http"
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"{scheme}://{host}:{self.port}"

    async def serve(self, opened: Callable[[], None]) -> None:
        """Listen and serve until cancelled; `opened` is called once the port is known. Raises WebUnavailable."""
        listener = listen(self._settings)
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)  # all that matters of it is counted and said by us, bounded
        try:
            self.port = listener.getsockname()[1]
            config = self._config()
            self._server = _Quiet(config, self._settings.header_ms_max / MS_S, opened)
            await self._server.serve(sockets=[listener])
        finally:
            self.port = 0
            try:
                await self._close()  # before its socket: asyncio's own loop cannot let go of one that is closed already
            finally:
                listener.close()

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        protocol = protocol_of(settings, self._traffic, self._faults)
        config = uvicorn.Config(
            self._application, http=protocol, ws="none", lifespan="off", log_config=None,
            access_log=False, proxy_headers=False, server_header=False, date_header=True, backlog=settings.backlog,
            timeout_keep_alive=max(1, settings.keep_alive_ms // MS_S), h11_max_incomplete_event_size=settings.header_bytes_max,
            ssl_certfile=settings.certificate_file or None, ssl_keyfile=settings.private_key_file or None,
        )  # fmt: skip
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise WebUnavailable(f"web.certificate_file or web.private_key_file cannot be used: {error}") from None
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        return config

    async def _close(self) -> None:
        """Drop every client and end what still answers, within CLOSE_SECONDS_MAX."""
        server, self._server = self._server, None
        if server is None:
            return
        for each in getattr(server, "servers", ()):
            each.close()
        state = server.server_state
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = set(state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS_MAX)


def listen(settings: WebSettings) -> socket.socket:
    """Open the listening socket. Raises WebUnavailable."""
    for name in filter(None, (settings.certificate_file, settings.private_key_file)):
        if not Path(name).is_file():
            raise WebUnavailable(f"{name} is not there: correct web.certificate_file and web.private_key_file")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise WebUnavailable(
            f"{settings.host} port {settings.port}: {error.strerror}; free it or set web.port (0 takes any)"
        ) from None
    return listener
