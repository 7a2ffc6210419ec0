"""HTTP with one address, within a time and a size, whatever the other end sends.

Python's own client is given a socket that keeps the time and counts the bytes: so the limits hold for a line of the
head that does not end as for a body that drips. It follows no redirect and knows no proxy, and nothing is unpacked.
"""

import http.client
import io
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from advkeras.errors import first_line
from advkeras.serving.address import Address
from advkeras.serving.failures import ServingError, said, too_late, too_much

# Bytes of an answer beside its body: its status, its head, and the sizes of its chunks.
_BESIDE = 2**18
_PIECE = 2**16


@dataclass(frozen=True)
class Answer:
    """What a server has answered.

    Attributes:
        status: of HTTP.
        reason: that stands beside it.
        location: that a redirect names; empty for others.
        body: as it was sent.
    """

    status: int
    reason: str
    location: str
    body: bytes


class _TooMuchError(Exception):
    """An answer has more bytes than it may have."""


class Exchange:
    """Requests to one server, over one connection while that lasts.

    Args:
        address: of the server.
        timeout: seconds from the beginning of a request to the end of its answer.
        largest: bytes of an answer's body, at most.
    """

    def __init__(self, address: Address, *, timeout: float, largest: int) -> None:
        self._address = address
        self._timeout = timeout
        self._largest = largest
        self._connection: _Connection | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, *, largest: int | None = None) -> Answer:
        """Sends a request and reads the answer to its end.

        Args:
            method: of HTTP.
            path: with a leading slash.
            body: JSON.
            largest: bytes of this answer's body, where that is less than those of others.

        Raises:
            ServingError: if the server cannot be reached, does not answer in HTTP, or answers too late or too much.
        """
        deadline = time.monotonic() + self._timeout
        room = min(self._largest, largest or self._largest)
        try:
            try:
                return self._once(method, path, body, deadline, room)
            except (ConnectionError, ssl.SSLEOFError):
                # A server ends connections that nobody has used for a while.
                if self._connection is None or not self._connection.used:
                    raise
                self.close()
                return self._once(method, path, body, deadline, room)
        except BaseException as error:
            self.close()
            if isinstance(error, (_TooMuchError, OSError, http.client.HTTPException, ValueError, ArithmeticError)):
                raise self._failure(error, room) from None
            raise

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(self, method: str, path: str, body: bytes | None, deadline: float, room: int) -> Answer:
        if self._connection is None:
            self._connection = _Connection(self._address, _connected(self._address, deadline))
        connection = self._connection
        connection.line.begin(deadline, room + _BESIDE)
        head = {"Accept": "application/json", "Accept-Encoding": "identity"}
        # A server may refuse a request before it has read the whole of it.
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            connection.request(
                method, path, body, head if body is None else head | {"Content-Type": "application/json"}
            )
        response = connection.getresponse()
        with response:
            content = self._content(response, room)
        connection.used = True
        if response.will_close:
            self.close()
        return Answer(response.status, response.reason, response.headers.get("Location", ""), content)

    def _content(self, response: http.client.HTTPResponse, room: int) -> bytes:
        packed = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            raise ServingError(
                f"{self._address.url} answers compressed ({said(packed)}), unasked: what is compressed is not unpacked"
            )
        if response.length is not None and response.length > room:
            raise _TooMuchError
        content = bytearray()
        while piece := response.read(_PIECE):
            content += piece
            if len(content) > room:
                raise _TooMuchError
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return bytes(content)

    def _failure(self, error: Exception, room: int) -> ServingError:
        """What is wrong, for the user."""
        url = self._address.url
        if isinstance(error, _TooMuchError):
            return too_much(url, room)
        if isinstance(error, TimeoutError):
            return too_late(url, self._timeout)
        if isinstance(error, ssl.SSLError):
            why = said(str(getattr(error, "verify_message", "") or error.reason or error))
            return ServingError(
                f"cannot reach {url} by TLS: {why}. Is it an http:// address, or its certificate unknown?"
            )
        if isinstance(error, OSError):
            return ServingError(f"cannot reach {url}: {error.strerror or first_line(error)}")
        what = said(f"{type(error).__name__}: {error}")
        return ServingError(
            f"{url} does not answer in whole HTTP ({what}): is it TF Serving's REST port, and http:// or https://?"
        )


class _Line:
    """A connected socket as Python's HTTP client uses one, with an end to its time and its bytes."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._deadline, self._room = 0.0, 0

    def begin(self, deadline: float, room: int) -> None:
        """Lets a request have time and bytes."""
        self._deadline, self._room = deadline, room

    def sendall(self, data: bytes) -> None:
        """Sends within the time."""
        left = memoryview(data)
        while left:
            self._keep_time()
            left = left[self._socket.send(left) :]

    def receive_into(self, raw: io.RawIOBase, buffer: Any) -> int | None:
        """Receives within the time and the room."""
        self._keep_time()
        count = raw.readinto(memoryview(buffer)[: self._room + 1])
        self._room -= count or 0
        if self._room < 0:
            raise _TooMuchError
        return count

    def makefile(self, *_: Any) -> io.BufferedReader:
        """What it receives, as a file."""
        return io.BufferedReader(_Received(self, self._socket.makefile("rb", buffering=0)))

    def close(self) -> None:
        """Ends the connection, when no file of it is open."""
        self._socket.close()

    def _keep_time(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


class _Received(io.RawIOBase):
    """What a line receives."""

    def __init__(self, line: _Line, raw: io.RawIOBase) -> None:
        self._line = line
        self._raw = raw

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Some bytes, none at the end."""
        return self._line.receive_into(self._raw, buffer)

    def close(self) -> None:
        """Lets the socket go."""
        self._raw.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    """Python's HTTP client on a line; it opens none itself.

    Attributes:
        line: to the server.
        used: whether a request was answered on it.
    """

    # A lost connection is an error here, and not opened again behind our back.
    auto_open = 0

    def __init__(self, address: Address, line: _Line) -> None:
        super().__init__(address.host, address.port)
        if address.scheme == "https":
            self.default_port = http.client.HTTPS_PORT
        self.line = line
        self.used = False
        self.sock: Any = line


def _connected(address: Address, deadline: float) -> _Line:
    def left() -> float:
        return max(1e-3, deadline - time.monotonic())

    connected = address.connect(left())
    if address.scheme == "https":
        connected.settimeout(left())
        try:
            # The certificate is that of the name, whichever machine it was found to be.
            connected = ssl.create_default_context().wrap_socket(connected, server_hostname=address.host)
        except BaseException:
            connected.close()
            raise
    return _Line(connected)
