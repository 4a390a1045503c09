"""The command that serves: serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr_llm import defaults
from asr_llm.cli.options import Adapters, BeamSize, Model
from asr_llm.decoding.options import NUM_BEAMS
from asr_llm.errors import ServerError

if TYPE_CHECKING:
    from asr_llm.serving.tls import Tls


def serve(
    model: Model = defaults.MODEL,
    adapter: Adapters = None,
    beam_size: BeamSize = NUM_BEAMS,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 8000,
    alias: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MODEL", help="Another name for a model: whisper-1=mini; repeatable."
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="Keys, one on each line; clients have to bring one, as a bearer token."),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="A web page whose scripts may ask: https://x.org; repeatable."
        ),
    ] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option(help="Serve https with this certificate (PEM).")
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(help="Its key (PEM), if it is not in the same file.")
    ] = None,
    ssl_keyfile_password: Annotated[
        str | None,
        typer.Option(
            envvar="ASR_LLM_SSL_KEYFILE_PASSWORD", help="Of the key; better in the environment."
        ),
    ] = None,
    ssl_ca_certs: Annotated[
        Path | None, typer.Option(help="What signed the certificates of clients (PEM).")
    ] = None,
    ssl_cert_reqs: Annotated[
        int, typer.Option(min=0, max=2, help="2: clients need a certificate; 1: may have one.")
    ] = 0,
    ssl_ciphers: Annotated[str | None, typer.Option(help="In OpenSSL's notation.")] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Of an upload.")] = 100.0,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Of an upload's audio; default: any.")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests at a time; more are told to come again.")
    ] = 100,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to an answer.")] = 600.0,
    grace: Annotated[
        float, typer.Option(min=0.0, help="Seconds to end what has begun when it is stopped.")
    ] = 30.0,
) -> None:
    """Serve transcription as OpenAI's interface has it: POST /v1/audio/transcriptions.

    GET / is a page for people, /metrics is for Prometheus.
    """
    from asr_llm.jobs import serve as job

    tls = _tls(
        ssl_certfile, ssl_keyfile, ssl_keyfile_password, ssl_ca_certs, ssl_cert_reqs, ssl_ciphers
    )
    job.serve(
        model,
        adapter or [],
        say=lambda line: typer.echo(line, err=True),
        num_beams=beam_size,
        door=job.Door(host, port, tls, api_key_file, tuple(cors_origin or ())),
        aliases=alias or [],
        places=queue,
        max_megabytes=max_megabytes,
        max_seconds=max_seconds,
        timeout=timeout,
        grace=grace,
    )


def _tls(certfile: Path | None, *others: Path | str | int | None) -> Tls | None:
    """What the options ``--ssl-*`` ask for, in the order of ``Tls``."""
    from asr_llm.serving.tls import Tls

    if certfile is not None:
        return Tls(certfile, *others)  # type: ignore[arg-type]
    if any(others):
        raise ServerError(
            "--ssl-… without a certificate; expected one in PEM: give --ssl-certfile too"
        )
    return None
