"""Server metrics for Prometheus. Needs the extra ``serve``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from asr_llm.serving.engine import Engine

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """Requests, audio and places since the server started, and the resources of its process.

    Labels are routes, statuses and models, never user content.
    """

    media_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "asr_llm_requests", "Answered requests.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "asr_llm_request_seconds", "Request latency in seconds.",
            ["route"], buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._audio = Counter(
            "asr_llm_audio_seconds", "Seconds of audio transcribed.", ["model"],
            registry=self._registry,
        )  # fmt: skip
        self._gauge("places", "Maximum concurrent transcription requests.", engine.places)
        taken = self._gauge("places_taken", "Current transcription requests.")
        taken.set_function(lambda: engine.taken)
        ready = self._gauge("ready", "1 while requests are accepted.")
        ready.set_function(lambda: engine.ready)

    def _gauge(self, name: str, means: str, value: float = 0.0) -> Gauge:
        made = Gauge(f"asr_llm_{name}", means, registry=self._registry)
        made.set(value)
        return made

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request by its route template, not its raw path."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def heard(self, model: str, seconds: float) -> None:
        """Count transcribed audio."""
        self._audio.labels(model).inc(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
