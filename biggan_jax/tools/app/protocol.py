"""HTTP connections that cannot fill the server without asking for anything."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Protocol(H11Protocol):
    """Close a connection on which no whole request has come within SECONDS, from its start or after the last response."""

    SECONDS = 10.0
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    @property
    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._answers:
            self._stop()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.SECONDS, self._close)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _close(self) -> None:
        self._waiting = None
        if not self._answers:
            self.transport.close()
