"""Ports of this machine, for the servers of the sandbox."""

import socket

HOST = "127.0.0.1"


def answers(port: int) -> bool:
    """Whether a program listens on this port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def free_port(wanted: int = 0) -> int:
    """The wanted port when nothing answers there, else a free one."""
    if wanted and not answers(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
