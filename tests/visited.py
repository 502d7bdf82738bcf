"""
A server for tests whose visitors may hang up.
"""

import sys
from http.server import ThreadingHTTPServer
from typing import Any  # what socketserver gives


class VisitedServer(ThreadingHTTPServer):
    """
    One that says nothing of a visitor who is gone: it would be printed into whatever test runs by then.
    """

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
