"""Where a served model is: an address whose name is looked up once."""

import ipaddress
import socket
import time
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from advkeras.errors import InvalidInputError, plain_text
from advkeras.serving.failures import ServingError

_PORTS = {"http": 80, "https": 443, "grpc": None}


@dataclass(frozen=True)
class Address:
    """A server's address, and the machine's that it leads to; a name that leads elsewhere later on changes nothing.

    Attributes:
        url: as it was given.
        scheme: ``"http"``, ``"https"`` or ``"grpc"``.
        host: its name, or its number.
        port: that it listens on.
        path: before that of TF Serving's API; empty for most.
        found: families and addresses of sockets, as :func:`socket.getaddrinfo` has found them.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str
    found: tuple[tuple[int, tuple[Any, ...]], ...]

    @classmethod
    def of(cls, url: str) -> Self:
        """The address that a URL gives.

        Args:
            url: ``http://HOST:PORT``, ``https://HOST:PORT`` or ``grpc://HOST:PORT``.

        Raises:
            InvalidInputError: if it is of another kind.
            ServingError: if there is no such host.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number, or brackets without an end
            raise _unfit(url) from None
        port = _PORTS.get(parts.scheme) if port is None else port
        surplus = [parts.query, parts.fragment, parts.path.strip("/") if parts.scheme == "grpc" else ""]
        if parts.scheme not in _PORTS or not host or not port or "@" in parts.netloc or any(surplus):
            raise _unfit(url)
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise _unfit(url) from None
        except OSError as error:
            raise ServingError(f"cannot reach {plain_text(url)}: {error.strerror or error}") from None
        found = tuple(dict.fromkeys((int(entry[0]), tuple(entry[4])) for entry in entries))
        return cls(url, parts.scheme, host, port, parts.path.rstrip("/"), found)

    @property
    def is_loopback(self) -> bool:
        """Whether it leads to this machine alone."""
        numbers = (str(address[0]).partition("%")[0] for _, address in self.found)
        return bool(self.found) and all(ipaddress.ip_address(number).is_loopback for number in numbers)

    def connect(self, timeout: float) -> socket.socket:
        """A connection to the first of the machines that takes one.

        Args:
            timeout: seconds, for all of them together.

        Raises:
            OSError: if none does.
        """
        deadline, failure = time.monotonic() + timeout, OSError("no address")
        for family, address in self.found:
            line = socket.socket(family, socket.SOCK_STREAM)
            try:
                line.settimeout(max(1e-3, deadline - time.monotonic()))
                line.connect(address)
            except OSError as error:
                line.close()
                failure = error
            else:
                # A request's head and its body would wait for each other.
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return line
        raise failure

    def grpc_target(self, timeout: float) -> str:
        """What gRPC takes instead of a name that it would look up itself.

        Raises:
            OSError: if the name has several machines, and none takes a connection.
        """
        family, address = self.found[0]
        if len(self.found) > 1:
            with self.connect(timeout) as line:
                family, address = line.family, line.getpeername()
        if family == socket.AF_INET6:
            return f"ipv6:[{str(address[0]).replace('%', '%25')}]:{self.port}"
        return f"ipv4:{address[0]}:{self.port}"


def _unfit(url: str) -> InvalidInputError:
    return InvalidInputError(
        f"a served model's address is http://HOST:PORT (REST) or grpc://HOST:PORT. Received: {plain_text(url)}"
    )
