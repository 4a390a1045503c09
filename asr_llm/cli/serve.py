"""The command ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.options import Adapters, BeamSize, FirstPass, Model
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import ServerError

if TYPE_CHECKING:
    from asr_llm.serving.tls import Tls


def serve(
    model: Model = defaults.MODEL,
    adapter: Adapters = None,
    beam_size: BeamSize = NUM_BEAMS,
    first_pass: FirstPass = True,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 accepts other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL", help="Another name for a model: whisper-1=small; repeatable."
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File of API keys, one per line; clients send one as a bearer token."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Origin to allow cross-site requests from: https://x.org; repeatable.",
        ),
    ] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option(help="Serve HTTPS with this certificate (PEM).")
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(help="Private key (PEM), if not in the same file.")
    ] = None,
    ssl_keyfile_password: Annotated[
        str | None,
        typer.Option(
            envvar="ASR_LLM_SSL_KEYFILE_PASSWORD",
            help="Password of the key; better set in the environment.",
        ),
    ] = None,
    ssl_ca_certs: Annotated[
        Path | None,
        typer.Option(help="CA certificates that client certificates are checked against (PEM)."),
    ] = None,
    ssl_cert_reqs: Annotated[
        int, typer.Option(min=0, max=2, help="Client certificates: 2 required, 1 optional.")
    ] = 0,
    ssl_ciphers: Annotated[
        str | None, typer.Option(help="Cipher list in OpenSSL's notation.")
    ] = None,
    max_megabytes: Annotated[
        float, typer.Option(min=0.001, help="Maximum size of an upload.")
    ] = 100.0,
    max_seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Maximum duration of an upload's audio; default: unlimited."),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Maximum concurrent requests; others get status 429.")
    ] = 100,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds until a request times out.")
    ] = 600.0,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds to finish open requests on shutdown.")
    ] = 30.0,
) -> None:
    """Serve an OpenAI-compatible transcription API: POST /v1/audio/transcriptions.

    GET / is a web page, GET /metrics is for Prometheus.
    """
    from asr_llm.jobs import serve as job
    from asr_llm.model.adapter_folder import AdapterFolder
    from asr_llm.transcription.options import Recogniser, TranscribeOptions

    tls = _tls(
        ssl_certfile, ssl_keyfile, ssl_keyfile_password, ssl_ca_certs, ssl_cert_reqs, ssl_ciphers
    )
    job.serve(
        Recogniser(model, AdapterFolder.read_all(adapter)),
        TranscribeOptions(
            num_beams=beam_size, first_pass=first_pass, confidence=True, word_timestamps=True
        ),
        job.Door(host, port, tls, api_key_file, tuple(cors_origin or ())),
        job.Load(queue, max_megabytes, max_seconds, timeout, grace),
        aliases=alias or [],
        say=lambda line: typer.echo(line, err=True),
    )


def _tls(certfile: Path | None, *others: Path | str | int | None) -> Tls | None:
    """The ``--ssl-*`` options, in the order of ``Tls``."""
    from asr_llm.serving.tls import Tls

    if certfile is not None:
        return Tls(certfile, *others)  # type: ignore[arg-type]
    if any(others):
        raise ServerError("--ssl-… options require a certificate in PEM: give --ssl-certfile too")
    return None
