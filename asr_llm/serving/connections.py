"""HTTP connections with timeouts for slow clients. Needs the extra ``serve``."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from asr_llm.serving.api import ApiError

_PATIENCE = 10.0  # seconds for the request head, and for body data sent after the response


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that disconnects clients that are slow to send a request.

    uvicorn waits for as long as they stay connected. Whoever reads the body limits how slowly it
    may arrive; only what is sent after the response is limited here.
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
        """Start the timeout while waiting for the client, stop it while the client waits."""
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
        with suppress(h11.LocalProtocolError):  # a response was already sent
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                message = f"no whole request came in {_PATIENCE:g} s; expected its head by then"
                self._answer(ApiError(408, message, "request_too_slow"))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Respond to malformed requests in JSON, unlike uvicorn."""
        message = "malformed request; expected HTTP/1.1"
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
