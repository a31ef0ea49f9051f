"""Somebody in between, on loopback: takes TLS with a certificate of their own and writes down what they are sent."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.relay.certified import Issued

from hanatalk.transport.tls import Greeting


class Interceptor:
    """Listens on `port` of 127.0.0.1. `tried` counts TLS handshakes begun, `heard` holds what came through them."""

    def __init__(
        self, made: Issued, *, port: int = 0, answer: bytes = b"", version: ssl.TLSVersion | None = None
    ) -> None:
        self.tried = 0
        self.heard = b""
        self._answer = answer  # to the first bytes that come
        self._context = Greeting(made.key_pem() + made.chain_pem).context
        if version is not None:
            self._context.minimum_version = self._context.maximum_version = version
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError):
                plain.settimeout(10)
                self.tried += 1
                with self._context.wrap_socket(plain, server_side=True) as secure:
                    while received := secure.recv(65_536):
                        self.heard += received
                        if self._answer:
                            secure.sendall(self._answer)

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(20)


@contextmanager
def intercepting(
    made: Issued, *, port: int = 0, answer: bytes = b"", version: ssl.TLSVersion | None = None
) -> Iterator[Interceptor]:
    """An interceptor that is gone afterwards."""
    interceptor = Interceptor(made, port=port, answer=answer, version=version)
    try:
        yield interceptor
    finally:
        interceptor.stop()
