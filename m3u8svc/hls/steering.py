"""
Content steering (M8, RFC 8216bis 7): the steering manifest, and which other variants hold the same as a chosen one.

For a download a pathway is a place to fail over to, as a redundant variant is (M2). `alternatives` lists them in the
order to try; `with_clones` adds what the manifest's PATHWAY-CLONES make of a playlist.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import attrs

from m3u8svc.errors import BadSteeringManifest, UnsupportedScheme
from m3u8svc.hls.lines import shown, too_large
from m3u8svc.hls.playlist import MasterPlaylist, Rendition, Variant
from m3u8svc.hls.uri import BadReference, query_of, resolve, with_host, with_query
from m3u8svc.wording import Said, said

MAX_BYTES = 1024 * 1024
MAX_CLONES = 100
MAX_VARIANTS = 10_000
MAX_TTL_S = 10_000_000.0
DEFAULT_TTL_S = 300.0

_MANIFEST = Said("清单", "the manifest")
_ONE_CLONE = Said("PATHWAY-CLONES 的一项", "an element of PATHWAY-CLONES")
_ONE_PRIORITY = Said("PATHWAY-PRIORITY 的一项", "an element of PATHWAY-PRIORITY")

Table = Mapping[str, str]


@attrs.frozen(kw_only=True)
class PathwayClone:
    """
    One of PATHWAY-CLONES: pathway `id` is `base_id` with other URIs. Those by stable id are absolute; `host` is for the
    others.
    """

    id: str
    base_id: str
    host: str = ""
    params: Table = attrs.field(factory=dict, repr=False, hash=False)
    variant_uris: Table = attrs.field(factory=dict, repr=False, hash=False)
    rendition_uris: Table = attrs.field(factory=dict, repr=False, hash=False)


@attrs.frozen(kw_only=True)
class SteeringManifest:
    """
    A steering manifest. `priority` are pathway ids, the best first; `reload_uri` is absolute, "" for the same URI.
    """

    ttl_s: float = DEFAULT_TTL_S
    reload_uri: str = attrs.field(default="", repr=False)
    priority: tuple[str, ...]
    clones: tuple[PathwayClone, ...] = ()


def parse_steering_manifest(body: bytes | str, url: str) -> SteeringManifest:
    """
    The manifest in `body`, whose address after redirects is `url`.

    Raises:
        BadSteeringManifest: no JSON object of version 1, or a field that is not what it must be.
    """
    if len(body) > MAX_BYTES:
        raise _wrong(Said(f"超过 {MAX_BYTES} 字节", f"it is over {MAX_BYTES} bytes"))
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, undecodable bytes, endless digits, nesting
        raise _wrong(Said("不是有效的 JSON", "it is not valid JSON")) from error
    table = _object(document, _MANIFEST)
    version = table.get("VERSION")
    if type(version) is not int or version != 1:
        raise _wrong(Said("VERSION 不是 1", "VERSION is not 1"))
    ttl = table.get("TTL", DEFAULT_TTL_S)
    if type(ttl) not in (int, float) or not 0 < ttl <= MAX_TTL_S:
        raise _wrong(Said("TTL 不是有效的秒数", "TTL is not a valid number of seconds"))
    clones = _list(table.get("PATHWAY-CLONES", []), "PATHWAY-CLONES")
    if len(clones) > MAX_CLONES:
        raise _wrong(Said(f"PATHWAY-CLONES 超过 {MAX_CLONES} 个", f"there are over {MAX_CLONES} PATHWAY-CLONES"))
    return SteeringManifest(
        ttl_s=float(ttl),
        reload_uri=_link(_text(table["RELOAD-URI"], "RELOAD-URI"), url, "RELOAD-URI") if "RELOAD-URI" in table else "",
        priority=_priority(table.get("PATHWAY-PRIORITY")),
        clones=tuple(_clone(_object(each, _ONE_CLONE), url) for each in clones),
    )


def alternatives(
    master: MasterPlaylist, variant: Variant, manifest: SteeringManifest | None = None
) -> tuple[Variant, ...]:
    """
    The variants that hold the same as `variant` at another URI, in the order to try when it fails: redundant ones of
    its own pathway as listed (M2), then those of other pathways by priority, clones included (M8).

    Those of clones name groups of `with_clones(master, manifest)`, not of `master`.
    """
    whole = with_clones(master, manifest) if manifest is not None else master
    order = _pathway_order(whole, manifest)
    found: dict[str, Variant] = {}
    for each in sorted(
        whole.variants, key=lambda each: (each.pathway_id != variant.pathway_id, order[each.pathway_id])
    ):
        if each.uri != variant.uri and _same_content(each, variant):
            found.setdefault(each.uri, each)
    return tuple(found.values())


def with_clones(master: MasterPlaylist, manifest: SteeringManifest) -> MasterPlaylist:
    """
    `master` with the variants and renditions of the manifest's clones behind its own. The groups of a cloned rendition
    have the pathway's id behind their names. A clone of what is not there, or with an id that is, counts for nothing.
    """
    variants = list(master.variants)
    renditions = list(master.renditions)
    for clone in manifest.clones:
        base = [each for each in variants if each.pathway_id == clone.base_id]
        if any(each.pathway_id == clone.id for each in variants):
            continue
        groups = {group for each in base for group in _groups(each)}
        made = [_cloned_variant(each, clone) for each in base]
        variants += made
        renditions += [_cloned_rendition(each, clone) for each in renditions if (each.type, each.group_id) in groups]
        if max(len(variants), len(renditions)) > MAX_VARIANTS:
            raise too_large(Said("克隆后的码流数", "the number of Variant Streams with clones"), MAX_VARIANTS)
    return attrs.evolve(master, variants=tuple(variants), renditions=tuple(renditions))


# -- Which are alike -------------------------------------------------------------------------------------------------


def _pathway_order(master: MasterPlaylist, manifest: SteeringManifest | None) -> dict[str, int]:
    """
    Every pathway's place: as the manifest says, else the one to start on first, then as listed.
    """
    first = manifest.priority if manifest is not None else (master.steering.pathway_id,) if master.steering else ()
    names = dict.fromkeys([*first, *(each.pathway_id for each in master.variants)])
    return {name: place for place, name in enumerate(names)}


def _same_content(one: Variant, other: Variant) -> bool:
    """
    Whether two variants differ in where they are only. Of different pathways, STABLE-VARIANT-ID decides when both have
    one, and groups may have other names.
    """
    across = one.pathway_id != other.pathway_id
    if across and one.stable_variant_id and other.stable_variant_id:
        return one.stable_variant_id == other.stable_variant_id
    return _quality(one, across) == _quality(other, across)


def _quality(variant: Variant, across: bool) -> Variant:
    bare = attrs.evolve(variant, uri="", line=0, stable_variant_id=None, pathway_id="")
    if not across:
        return bare
    return attrs.evolve(
        bare,
        audio_group=bare.audio_group and "x",
        video_group=bare.video_group and "x",
        subtitles_group=bare.subtitles_group and "x",
        closed_captions=None,
    )


# -- Clones ----------------------------------------------------------------------------------------------------------


def _groups(variant: Variant) -> list[tuple[str, str]]:
    named = [("AUDIO", variant.audio_group), ("VIDEO", variant.video_group), ("SUBTITLES", variant.subtitles_group)]
    return [(kind, name) for kind, name in named if name is not None]


def _cloned_variant(variant: Variant, clone: PathwayClone) -> Variant:
    own = clone.variant_uris.get(variant.stable_variant_id or "", "")
    return attrs.evolve(
        variant,
        uri=_replaced(variant.uri, own, clone),
        pathway_id=clone.id,
        audio_group=_group(variant.audio_group, clone),
        video_group=_group(variant.video_group, clone),
        subtitles_group=_group(variant.subtitles_group, clone),
    )


def _cloned_rendition(rendition: Rendition, clone: PathwayClone) -> Rendition:
    own = clone.rendition_uris.get(rendition.stable_rendition_id or "", "")
    uri = None if rendition.uri is None else _replaced(rendition.uri, own, clone)
    return attrs.evolve(rendition, uri=uri, group_id=f"{rendition.group_id}/{clone.id}")


def _group(name: str | None, clone: PathwayClone) -> str | None:
    return None if name is None else f"{name}/{clone.id}"


def _replaced(uri: str, own: str, clone: PathwayClone) -> str:
    """
    URI-REPLACEMENT on one URI: its own by stable id, or the host exchanged; then the parameters, in order of name.
    """
    uri = own or (with_host(uri, clone.host) if clone.host else uri)
    if not clone.params:
        return uri
    kept = [pair for pair in query_of(uri).split("&") if pair and pair.partition("=")[0] not in _encoded(clone.params)]
    added = [f"{name}={value}" for name, value in _encoded(clone.params).items()]
    return with_query(uri, "&".join([*kept, *added]))


def _encoded(params: Table) -> dict[str, str]:
    return {quote(name, safe=""): quote(params[name], safe="") for name in sorted(params)}


# -- JSON ------------------------------------------------------------------------------------------------------------


def _clone(table: Mapping[str, Any], url: str) -> PathwayClone:
    replacement = _object(table.get("URI-REPLACEMENT"), "URI-REPLACEMENT")
    host = _text(replacement["HOST"], "HOST") if "HOST" in replacement else ""
    clone = PathwayClone(
        id=_text(table.get("ID"), Said("PATHWAY-CLONES 的 ID", "ID in PATHWAY-CLONES")),
        base_id=_text(table.get("BASE-ID"), "BASE-ID"),
        host=host,
        params=_table(replacement.get("PARAMS", {}), "PARAMS"),
        variant_uris=_links(replacement.get("PER-VARIANT-URIS", {}), url, "PER-VARIANT-URIS"),
        rendition_uris=_links(replacement.get("PER-RENDITION-URIS", {}), url, "PER-RENDITION-URIS"),
    )
    if host:
        try:
            with_host("http://h/", host)
        except BadReference as error:
            raise _wrong(Said(f"HOST 无效：{shown(host)}", f"HOST is not valid: {shown(host)}")) from error
    return clone


def _priority(value: object) -> tuple[str, ...]:
    names = tuple(_text(each, _ONE_PRIORITY) for each in _list(value, "PATHWAY-PRIORITY"))
    if not names or len(set(names)) != len(names):
        raise _wrong(Said("PATHWAY-PRIORITY 为空或有重复", "PATHWAY-PRIORITY is empty or names a pathway twice"))
    return names


def _links(value: object, url: str, what: str) -> Table:
    return {name: _link(text, url, what) for name, text in _table(value, what).items()}


def _link(text: str, url: str, what: str) -> str:
    try:
        return resolve(text, url)
    except (BadReference, UnsupportedScheme) as error:
        why = said(
            "{what} 不是可用的链接：{given}", "{what} is not a usable URI: {given}", what=what, given=shown(text)
        )
        raise _wrong(why) from error


def _table(value: object, what: str) -> Table:
    table = _object(value, what)
    for name, text in table.items():
        if not name or not isinstance(text, str):
            raise _wrong(said("{what} 不是由字符串组成的对象", "{what} is not an object of strings", what=what))
        _printable(text + name, what)
    return dict(table)


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        gap = "" if what is _MANIFEST else " "
        raise _wrong(said("{what}{gap}不是对象", "{what} is not an object", what=what, gap=gap))
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(said("{what} 不是数组", "{what} is not an array", what=what))
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(said("{what} 不是非空字符串", "{what} is not a non-empty string", what=what))
    return _printable(value, what)


def _printable(text: str, what: str) -> str:
    try:
        text.encode()  # JSON can write half of a surrogate pair, which is no text
    except UnicodeEncodeError as error:
        raise _wrong(said("{what} 含有无效的字符", "{what} has invalid characters", what=what)) from error
    return text


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _wrong(reason: Said) -> BadSteeringManifest:
    return BadSteeringManifest(line=0, reason=reason)
