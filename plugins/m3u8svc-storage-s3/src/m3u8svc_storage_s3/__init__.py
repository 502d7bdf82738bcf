"""
The storage "s3": a finished file becomes an object in S3-compatible storage. README.md is the manual.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # a plugin's configuration and options are its own JSON

from m3u8svc.plugin import Services, Storage, hookimpl


class Plugin:
    """
    Offers the storage "s3".
    """

    def __init__(self) -> None:
        self._storage: Storage | None = None

    @hookimpl
    def configure(self, config: Mapping[str, Any], services: Services) -> None:
        """
        Read ``[plugins.storage-s3]``. The server is not asked: it may come up later than the service.
        """
        from m3u8svc_storage_s3.bucket import Bucket
        from m3u8svc_storage_s3.configuration import read_configuration
        from m3u8svc_storage_s3.storage import S3Storage
        from m3u8svc_storage_s3.uploads import Uploads

        configuration = read_configuration(config)
        self._storage = S3Storage(
            Bucket(configuration),
            Uploads(services.state_dir / "uploads"),
            prefix=configuration.prefix,
            in_thread=services.in_thread,
            log=services.log,
        )

    @hookimpl
    def check_options(self, options: Mapping[str, Any]) -> None:
        """
        A request may name a ``prefix`` below the configured one, and nothing else.
        """
        from m3u8svc_storage_s3.configuration import read_options

        read_options(options)

    @hookimpl
    def register_storage(self) -> Iterable[Storage]:
        """
        The one record.
        """
        return [] if self._storage is None else [self._storage]
