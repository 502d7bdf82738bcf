"""
What the bytes of one segment go through between the wire and the disk.
"""

import hashlib

from twisted.internet.defer import Deferred

from m3u8svc.errors import DecryptError, NotMedia, SegmentError
from m3u8svc.hls.decrypt import Decryptor, decryption_for
from m3u8svc.hls.media import Media, MediaCheck
from m3u8svc.hls.playlist import Segment
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.wording import Said
from m3u8svc.workdir import PartFile


class SegmentSink:
    """
    What a segment's bytes go through: counted, decrypted, recognised, written. One `write` per chunk off the wire.
    """

    def __init__(
        self, segment: Segment, key: bytes | None, part: "PartFile | Digest", tracker: Tracker, *, of_texts: bool
    ) -> None:
        self._position = segment.position
        self._sealed = is_sealed(segment) and key is not None
        self._decryption: Decryptor | None = None
        if segment.key is not None and key is not None and segment.iv is not None:
            self._decryption = decryption_for(segment.key, key, segment.iv, segment.position)
        self._check = MediaCheck(segment.position, of_texts=of_texts)
        self._part = part
        self._tracker = tracker

    def write(self, chunk: bytes) -> Deferred[None] | None:
        """
        Take a chunk; a Deferred asks the connection to pause.

        Raises:
            DecryptError, NotMedia: it is not what it should be.
        """
        self._tracker.received(len(chunk))
        if self._decryption is not None:
            chunk = self._decryption.update(chunk)
        return self._part.write(self._fed(chunk))

    def finish(self, *, length_known: bool) -> Media:
        """
        The last bytes; says what the segment holds.

        Raises:
            DecryptError, NotMedia: it is not what it should be.
            SegmentError: nobody said how long it is, and it does not end where its container ends (R-INT-1).
        """
        if self._decryption is not None:
            self._part.write(self._fed(self._decryption.finish()))
        try:
            rest, media = self._check.finish()
        except NotMedia as error:
            raise self._doubted(error) from error
        self._part.write(rest)
        if not media.complete and not length_known:
            raise SegmentError(position=self._position, reason=media.damage or Said("数据不完整", "it is cut off"))
        return media

    def _fed(self, chunk: bytes) -> bytes:
        try:
            return self._check.feed(chunk)
        except NotMedia as error:
            raise self._doubted(error) from error

    def _doubted(self, error: NotMedia) -> SegmentError:
        """
        What it means that the bytes are no media. A wrong key leaves nothing of AES-128's plaintext, and shows here
        long before the padding at the end (R-INT-1); SAMPLE-AES leaves the containers in the clear.
        """
        if not self._sealed:
            return error
        why = Said("解密后不是媒体数据，密钥可能不对", "decrypted it is no media; the key may be wrong")
        return DecryptError(position=self._position, reason=why)


class Digest:
    """
    Takes the place of a file where only what it would hold is of interest.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of everything so far, as `PartFile.digest`."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Take a chunk."""
        self._hash.update(chunk)


def is_sealed(segment: Segment) -> bool:
    """
    Whether its encryption shows a cut: the padding of AES-128 is at the end and nowhere else.
    """
    return segment.key is not None and segment.key.method == "AES-128"
