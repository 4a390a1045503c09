"""Joins or starts a Ray cluster, without telemetry and without logs on the terminal."""

from __future__ import annotations

import logging
import os
import socket
from importlib.util import find_spec
from typing import Any

from asr_llm.errors import RunError
from asr_llm.transcription.options import Cluster

LOCAL = "local"


def connect(cluster: Cluster) -> Any:
    """The module ``ray``, connected.

    A local cluster has neither dashboard nor usage reports, and listens on this machine alone.

    Raises:
        RunError: Ray is not installed, or no cluster answers.
    """
    if find_spec("ray") is None:
        raise RunError("no Ray, which --ray needs; install it: pip install 'asr-llm[ray]'")
    _reach(cluster.address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if cluster.address == LOCAL:
        # Despite its name, on any system: processes then listen on the loopback interface alone.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    if ray.is_initialized():
        return ray
    # Otherwise it prints on stdout when an actor dies; there is no public switch.
    ray._private.worker._worker_logs_enabled = False
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address == LOCAL:
        cores = len(os.sched_getaffinity(0))
        how |= {"num_cpus": max(cores, cluster.actors or 1), "include_dashboard": False}
    try:
        ray.init(cluster.address, **how)
    except ConnectionError as error:
        raise RunError(
            f"--ray {cluster.address}: it answers, but no cluster lets this process in; it may ask "
            "for a token (set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token), or "
            f"run another version of Ray than {ray.__version__}, which is installed here"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise _unreachable(cluster.address, reason) from error
    return ray


def _reach(address: str) -> None:
    """Refuse an address at which nothing listens: Ray would try for minutes."""
    if address.startswith("ray://"):
        raise RunError(
            f"--ray {address}: is for Ray's client, which cannot give out work; run the command on "
            "a machine of the cluster, with the address of its head, such as 10.0.0.1:6379"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, getattr(error, "strerror", None) or str(error)) from error


def _unreachable(address: str, reason: str) -> RunError:
    return RunError(
        f"--ray {address}: no Ray cluster answers ({reason}); expected the address of its head, "
        "such as 10.0.0.1:6379, or local"
    )


def shares(ray: Any, cluster: Cluster) -> tuple[int, dict[str, float]]:
    """How many actors, and what each takes: a GPU, or its share of the cores where there is none.

    Ray runs as many threads in an actor as it has cores.
    """
    found = ray.cluster_resources()
    gpus, cores = int(found.get("GPU", 0)), max(1, int(found.get("CPU", 1)))
    actors = cluster.actors or gpus or cores
    if gpus:
        return actors, {"num_gpus": 1, "num_cpus": 1}
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return actors, {"num_cpus": max(1, min(cores // actors, largest))}
