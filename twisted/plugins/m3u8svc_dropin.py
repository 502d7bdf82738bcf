"""
Tell twistd about m3u8svc. Lazy: importing this imports neither our code nor the reactor.
"""

from twisted.application.service import ServiceMaker

m3u8svc = ServiceMaker(
    "m3u8svc",
    "m3u8svc.tap",
    "Download HLS (m3u8) streams into verified MP4 files, over a REST API.",
    "m3u8svc",
)
