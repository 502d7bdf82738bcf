"""
EXT-X-KEY and EXT-X-SESSION-KEY: which keys are in force, which of them we can use, what a refused one is called.

Several KEYFORMATs may be in force at once and give the same key (S5): each has its own place, "identity" wins. Others
are DRM, whose keys are not at a URI; they are refused only when a segment needs them and the user gave no key.
"""

import attrs

from m3u8svc.errors import PlaylistError, UnsupportedEncryption
from m3u8svc.hls.lines import Line, Reading, initialisation_vector, printable, shown, too_large, wrong
from m3u8svc.hls.playlist import IDENTITY, Key
from m3u8svc.hls.uri import scheme_of
from m3u8svc.wording import Said

MAX_KEYS = 10_000
METHODS = frozenset(["AES-128", "SAMPLE-AES"])
"""What can be undone with 16 bytes of key."""

DRM_SYSTEMS = {
    "com.apple.streamingkeydelivery": "FairPlay",
    "urn:uuid:94ce86fb-07ff-4f43-adb8-93d2fa968ca2": "FairPlay",
    "com.widevine": "Widevine",
    "com.widevine.alpha": "Widevine",
    "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed": "Widevine",
    "com.microsoft.playready": "PlayReady",
    "urn:uuid:9a04f079-9840-4286-ab92-e65be0885f95": "PlayReady",
    "urn:uuid:3d5e6d35-9b9a-41e8-b843-dd3c6e72c42c": "ChinaDRM",
    "urn:uuid:80a6be7e-1448-4c37-9e70-d5aebe04c8d2": "Irdeto",
    "urn:uuid:f239e769-efa3-4850-9c16-a903c6932efb": "Adobe Primetime",
    "urn:uuid:5e629af5-38da-4063-8977-97ffbd9902d4": "Marlin",
    "urn:uuid:adb41c24-2dbf-4a6d-958b-4457c0d27b95": "Nagra",
    "org.w3.clearkey": "ClearKey",
    "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e": "ClearKey",
    "urn:uuid:1077efec-c0b2-4d02-ace3-3c1e52e2fb4b": "Common Encryption",
    "urn:mpeg:dash:mp4protection:2011": "Common Encryption",
}
"""KEYFORMAT, in lower case -> what people call it."""


@attrs.frozen
class Encryption:
    """
    What the keys in force mean for a segment or map: a key we can use, or one that stands in the way (S5, S10).
    """

    key: Key | None = attrs.field(default=None, repr=False)
    obstacle: Key | None = attrs.field(default=None, repr=False)

    def usable_key(self) -> Key | None:
        """
        The key to decrypt with.

        Raises:
            UnsupportedEncryption: no key in force is usable.
        """
        if self.obstacle is not None:
            raise _refused(self.obstacle)
        return self.key


class KeyRing:
    """
    The keys in force at one place of a playlist, by KEYFORMAT.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._in_force: dict[str, Key] = {}
        self._uris: set[str] = set()
        self.used = False

    def turn(self, line: Line) -> Encryption | None:
        """
        S5-S8: what one EXT-X-KEY changes, and what is in force behind it. NONE ends them all.
        """
        self.used = True
        attributes = self._reading.attributes(line)
        if attributes.get("METHOD", "").upper() == "NONE":
            if len(attributes) > 1:
                self._reading.warnings.add(
                    line.number, Said("METHOD=NONE 的其他属性已忽略", "other attributes of METHOD=NONE are ignored")
                )
            self._in_force = {}
        else:
            key = self.read(line, attributes)
            self._in_force[key.keyformat] = key
        return self._encryption()

    def read(self, line: Line, attributes: dict[str, str]) -> Key:
        """
        The key of one tag. Of one that we cannot use only what names it.
        """
        method = attributes.get("METHOD", "").upper()
        if not method:
            raise wrong(line, "missing-attribute", Said("缺少 METHOD", "METHOD is missing"))
        keyformat = attributes.get("KEYFORMAT") or IDENTITY
        key = Key(
            method=method,
            uri=printable(attributes.get("URI", "")),
            iv=None,
            keyformat=IDENTITY if keyformat.lower() == IDENTITY else keyformat,
            line=line.number,
        )
        if not self.usable(key):
            return key
        key = attrs.evolve(
            key, uri=self._uri(line, attributes.get("URI", "")), iv=initialisation_vector(line, attributes.get("IV"))
        )
        self._uris.add(key.uri)
        if len(self._uris) > MAX_KEYS:
            raise too_large(Said("密钥数", "the number of keys"), MAX_KEYS, line.number)
        return key

    def usable(self, key: Key) -> bool:
        """Whether its 16 bytes are at its URI, or given, and do what the method needs."""
        at_uri = key.keyformat == IDENTITY and scheme_of(key.uri) != "skd"
        return key.method in METHODS and (self._reading.key_given or at_uri)

    def _uri(self, line: Line, reference: str) -> str:
        if not self._reading.key_given:
            if not reference:
                raise wrong(line, "missing-attribute", Said("缺少 URI", "URI is missing"))
            return self._reading.absolute_or_data(line, reference)
        try:
            return self._reading.absolute_or_data(line, reference)
        except PlaylistError:
            return printable(reference)  # nothing will be fetched from there: it only tells keys apart

    def _encryption(self) -> Encryption | None:
        if not self._in_force:
            return None
        # Identity first: the others are asked only where no key of that kind is in force, or for the error's name.
        candidates = sorted(self._in_force.values(), key=lambda key: key.keyformat != IDENTITY)
        usable = next((key for key in candidates if self.usable(key)), None)
        return Encryption(usable) if usable is not None else Encryption(None, candidates[0])


def drm_system(key: Key) -> str:
    """
    The name of the system behind a key that is not simply 16 bytes at a URI, "" when it is none we know.
    """
    if scheme_of(key.uri) == "skd":
        return "FairPlay"
    keyformat = key.keyformat.lower()
    return DRM_SYSTEMS.get(keyformat, "DRM" if keyformat.startswith("urn:uuid:") else "")


def _refused(key: Key) -> UnsupportedEncryption:
    system = drm_system(key)
    # Named in the field, so that both languages say it: "FairPlay DRM, com.apple.streamingkeydelivery".
    words = [system if system.endswith("DRM") else f"{system} DRM"] if system else []
    keyformat = ", ".join([*words, shown(key.keyformat)])
    return UnsupportedEncryption(
        method=shown(key.method), keyformat=keyformat, system=system, line=key.line, tag="EXT-X-KEY"
    )
