"""HTTP connections whose other end may not take for ever. Needs the extra ``serve``."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from asr_llm.serving.api import ApiError

_PATIENCE = 10.0  # seconds for the head of a request, and to send what nobody reads any more


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that gives up on a client that is slow to ask.

    uvicorn waits as long as it is connected. How fast the body of a request has to come is
    decided by whoever reads it; only what is sent on after its answer is bounded here.
    """

    _patience: asyncio.TimerHandle | None = None

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
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        """Wait for the client, unless it is the client that waits."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(_PATIENCE, self._give_up)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        with suppress(h11.LocalProtocolError):  # an answer was sent
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                message = f"no whole request came in {_PATIENCE:g} s; expected its head by then"
                self._answer(ApiError(408, message, "request_too_slow"))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What cannot be understood at all; uvicorn's own answer is no JSON."""
        message = "this is no HTTP request that can be understood; expected HTTP/1.1"
        self._answer(ApiError(400, message, "invalid_request"))
        self.transport.close()

    def _answer(self, error: ApiError) -> None:
        body = json.dumps(error.body).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        head = h11.Response(
            status_code=error.status, headers=[*headers.items(), ("connection", "close")]
        )
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
