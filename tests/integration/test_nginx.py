"""
The main job against a real server: nginx serves streams made by ffmpeg, curl drives the service over REST, and ffprobe
counts what arrived.
"""

from pathlib import Path

import pytest

from tests.integration.media import Stream, decoding_errors, packets, probe
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service

KINDS = (
    "plain aes aes-default-iv rotation sample-aes byterange fmp4 fmp4-byterange multivariant hevc mp3 ac3 audio-only"
    " splice-tagged splice-untagged disguised page"
).split()


def finished(service: Service, url: str, name: str, **fields: object) -> Path:
    """The MP4 of a new task."""
    task = service.finish(url, name, **fields)
    output = Path(task["output"])
    assert (service.saves / f"{name}.mp4", output.stat().st_size, 100) == (output, task["size"], task["progress"])
    return output


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_becomes_an_mp4(service: Service, nginx: Nginx, streams: dict[str, Stream], kind: str) -> None:
    """Every kind of stream becomes an MP4 that decodes without a word and holds every packet of its source."""
    stream = streams[kind]
    mp4 = finished(service, nginx.base + stream.path, kind)
    assert ("", stream.packets) == (decoding_errors(mp4), packets(mp4))


def test_every_kind_is_tried(streams: dict[str, Stream]) -> None:
    """No stream is made and then forgotten."""
    assert sorted(KINDS) == sorted(streams)


def test_the_best_variant_is_taken(service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
    """Of two variants, one behind another multivariant playlist, the one with more bandwidth is downloaded."""
    mp4 = finished(service, nginx.base + streams["multivariant"].path, "best")
    assert [{"height": 180}] == probe(mp4, "-select_streams", "v", "-show_entries", "stream=height")["streams"]


def test_a_redirect_is_followed(service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
    """Relative references mean the address after the redirect."""
    mp4 = finished(service, f"{nginx.base}/moved{streams['fmp4'].path}", "moved")
    assert streams["fmp4"].packets == packets(mp4)


def test_a_compressed_playlist(service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
    """A playlist that comes as gzip is understood; nginx says that it sent one."""
    mp4 = finished(service, f"{nginx.base}/packed{streams['plain'].path}?compressed", "packed")
    answered = [line for line in nginx.lines() if "?compressed" in line]
    assert ["200 /packed/plain/index.m3u8?compressed encoding=gzip token=-"] == answered
    assert streams["plain"].packets == packets(mp4)


class TestHeaders:
    """Custom headers of a task."""

    def test_reach_everything(self, service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
        """Playlist, key and every segment are asked for with the task's header; nginx refuses all others."""
        url = f"{nginx.base}/guarded{streams['aes'].path}"
        mp4 = finished(service, url, "guarded", use_http_headers=True, http_headers={"X-Token": ["letmein"]})
        guarded = [line.split()[:2] + line.split()[3:] for line in nginx.lines() if "/guarded/" in line]
        assert {("200", "token=letmein")} == {(line[0], line[-1]) for line in guarded}
        assert {"/guarded/aes/index.m3u8?-", "/guarded/aes/key.bin?-"} < {line[1] for line in guarded}
        assert streams["aes"].packets == packets(mp4)

    def test_are_off_by_default(self, service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
        """Without use_http_headers the headers are not sent nor kept, and the failure names status and URL."""
        url = f"{nginx.base}/guarded{streams['plain'].path}"
        task = service.fail(url, "refused", http_headers={"X-Token": ["letmein"]})
        assert ("http_4xx", f"服务器返回 HTTP 401：{url}", {}) == (
            task["err_code"],
            task["err_msg"],
            task["header_map"],
        )


class TestSelfSigned:
    """HTTPS with a certificate that nobody vouches for."""

    def test_is_refused(self, service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
        """By default the task fails and says that the certificate is why."""
        url = nginx.tls_base + streams["plain"].path
        task = service.fail(url, "untrusted")
        assert "tls_untrusted" == task["err_code"]
        assert task["err_msg"].startswith(f"HTTPS 证书不可信：{url}（")

    def test_is_accepted_when_told(self, service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
        """With allow_insecure_https the same stream, encrypted as well, is downloaded."""
        url = nginx.tls_base + streams["aes"].path
        mp4 = finished(service, url, "insecure", allow_insecure_https=True)
        assert streams["aes"].packets == packets(mp4)


def test_the_log_tells_a_task_in_a_few_lines(service: Service, nginx: Nginx, streams: dict[str, Stream]) -> None:
    """Of one task an operator reads at most ten lines at level info, and none about single connections."""
    before = len(service.log.splitlines())
    finished(service, nginx.base + streams["plain"].path, "told")
    told = [line for line in service.log.splitlines()[before:] if "#debug" not in line]
    assert (True, []) == (2 <= len(told) <= 10, [line for line in told if "actory" in line])
