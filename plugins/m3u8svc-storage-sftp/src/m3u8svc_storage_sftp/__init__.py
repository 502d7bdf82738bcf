"""
The storage "sftp": a finished file is put on an SFTP server. README.md is the manual.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # a plugin's configuration and options are its own JSON

from m3u8svc.plugin import Services, Storage, hookimpl


class Plugin:
    """
    Offers the storage "sftp".
    """

    def __init__(self) -> None:
        self._storage: Storage | None = None

    @hookimpl
    def configure(self, config: Mapping[str, Any], services: Services) -> None:
        """
        Read ``[plugins.storage-sftp]``. The server is not asked: it may come up later than the service.
        """
        from m3u8svc_storage_sftp.configuration import read_configuration
        from m3u8svc_storage_sftp.results import Results
        from m3u8svc_storage_sftp.storage import SftpStorage

        configuration = read_configuration(config)
        self._storage = SftpStorage(
            configuration,
            Results(services.state_dir / "results"),
            in_thread=services.in_thread,
            log=services.log,
        )

    @hookimpl
    def check_options(self, options: Mapping[str, Any]) -> None:
        """
        A request may name a ``directory`` below the configured one, and nothing else.
        """
        from m3u8svc_storage_sftp.configuration import read_options

        read_options(options)

    @hookimpl
    def register_storage(self) -> Iterable[Storage]:
        """
        The one record.
        """
        return [] if self._storage is None else [self._storage]
