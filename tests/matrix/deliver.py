"""
From a stream on a server to an MP4: the service as a child process, asked over its REST API.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.integration.nginx_server import Nginx, serving
from tests.integration.service_child import Service, running
from tests.matrix.streams import Stream

WITHIN_S = 120.0


@attrs.frozen(kw_only=True)
class Plant:
    """
    A server over `root`, and a service that fetches from it.
    """

    root: Path
    server: Nginx
    service: Service

    def deliver(self, streams: Sequence[Stream]) -> Mapping[Stream, Path | str]:
        """Download all of these at once: of each the MP4, or why there is none."""
        # Renditions are asked for by name: the service's own choice would be one language and no text.
        chosen = {"audio": "all", "subtitles": "all"}
        tasks = [self.service.add(self.server.base + stream.path, stream.row.name, **chosen) for stream in streams]
        ends = [self.service.wait(task, "已完成", "失败", within_s=WITHIN_S) for task in tasks]
        return {
            stream: self.service.saves / f"{stream.row.name}.mp4"
            if end["status"] == "已完成"
            else f"{end['err_code']}: {end['err_msg']}"
            for stream, end in zip(streams, ends, strict=True)
        }


@contextmanager
def plant(place: Path) -> Iterator[Plant]:
    """
    Both, below `place`, while the block lasts.
    """
    root, own = place / "root", place / "nginx"
    root.mkdir()
    own.mkdir()
    with serving(own, root) as server, running(place / "service") as service:
        yield Plant(root=root, server=server, service=service)
