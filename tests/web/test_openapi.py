"""
The API described by itself: whole, valid, and true.
"""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from m3u8svc.errors import catalogue
from m3u8svc.hls.outline import Outline, OutlinedGroup, OutlinedRendition, OutlinedSkip, OutlinedTrack, OutlinedVariant
from m3u8svc.tasks.livelog import Line, Live, Standing
from m3u8svc.tasks.search import Overview, Space
from m3u8svc.tasks.task import Extensions, Incident, Progress, Settings, Status, SystemSettings, Task, TaskSpec
from m3u8svc.web import gate
from m3u8svc.web.apologies import OUR_FAULT
from m3u8svc.web.openapi import PATH, STATIC, body_schema, document, operations
from m3u8svc.web.openapi_texts import FIELDS, INCIDENT, OUTLINE, PLUGIN, REASON, SANDBOX, SHOWN
from m3u8svc.web.render import (
    counts_object,
    incidents_object,
    live_object,
    outline_object,
    progress_object,
    settings_object,
    system_object,
    task_object,
)
from m3u8svc.web.schema import (
    ChangeBody,
    CurlBody,
    SavedSettingsBody,
    TaskBody,
    parse_change,
    parse_curl_request,
    parse_settings,
    parse_task,
)
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said

BODIES = (TaskBody, ChangeBody, SavedSettingsBody, CurlBody)
MERGERS = ("mp4", "ts", "none", "special")
DOCUMENT = document(version="1.2.3", mergers=MERGERS, storages=("disk",))
SCHEMAS = DOCUMENT["components"]["schemas"]


def every_operation():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield pytest.param(method.upper(), path, operation, id=f"{method} {path}")


def resolved(shape):
    """The document with this shape on top, so that its references lead somewhere."""
    return {"components": DOCUMENT["components"], **shape}


def conforms(value, shape):
    validator = jsonschema.Draft202012Validator(resolved(shape), format_checker=jsonschema.FormatChecker())
    validator.validate(json.loads(json.dumps(value)))


# -- Whole and valid -------------------------------------------------------------------------------------------------


def test_it_is_openapi():
    """A validator of OpenAPI 3.1 has nothing to say."""
    assert [] == list(OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).iter_errors())
    assert ("3.1.0", "1.2.3") == (DOCUMENT["openapi"], DOCUMENT["info"]["version"])


def test_every_route_has_its_operations():
    """What the gate lets through is described, and nothing else is."""
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    routes = {(method, path) for path, methods in gate.ROUTES.items() for method in methods}
    assert routes | {("GET", STATIC), ("HEAD", STATIC)} == described
    assert {(method, path) for method, path in described if method != "HEAD"} == operations(DEFAULTS).keys()


def test_operations_have_names_of_their_own():
    """Programs make functions of them."""
    names = [param.values[2]["operationId"] for param in every_operation()]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)


def test_every_field_has_words():
    """A field of a request without a description fails here, and so does a description without a field."""
    wanted = {name for body in BODIES for name in body.model_fields}
    assert wanted == FIELDS.keys()
    assert [] == [name for name, text in (FIELDS | SHOWN).items() if not text.isprintable() or text[-1] != "."]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_has_words(name):
    """Whatever a body or an answer has of its own is explained."""
    silent = {
        name
        for name, shape in SCHEMAS[name].get("properties", {}).items()
        if "description" not in shape and "$ref" not in shape and "const" not in shape
    }
    assert silent == set()


@pytest.mark.parametrize(("method", "path", "operation"), list(every_operation()))
def test_errors_of_an_operation(method, path, operation):
    """Each has its code and its text in English beside the Chinese; the codes are of the catalogue."""
    known = {each.code for each in catalogue()} | {"internal"}
    errors = {int(status): answer for status, answer in operation["responses"].items() if int(status) >= 400}
    assert {400, 421, 429, 431, 500} <= errors.keys()
    for status, answer in errors.items():
        codes = answer["headers"]["X-Error-Code"]["schema"]["enum"]
        assert set(codes) <= known and codes
        assert answer["headers"]["X-Error-Code"]["required"]
        assert "X-Error-Text-En" in answer["headers"]
        if method != "HEAD":
            example = answer["content"]["application/json"]["example"]
            assert not example.isascii(), status
    if (method, path) in OUR_FAULT:
        assert "internal" in errors[500]["headers"]["X-Error-Code"]["schema"]["enum"]


def test_examples_are_of_the_contract():
    """The strings that existing clients know stand there."""
    text = json.dumps(DOCUMENT, ensure_ascii=False)
    for said in ("任务不存在", "任务ID不能为空", "等待中", "已暂停", "已完成", "下载中", "失败"):
        assert f'"{said}"' in text


def test_refusals_of_the_gate_are_described():
    """Whatever the gate says of a route is an answer of one of its operations."""
    own = {"host": ["h"]}
    asked = [
        ("POST", "/api/tasks", {}, 0),
        ("POST", "/api/tasks", own | {"origin": ["null"]}, 0),
        ("POST", "/api/tasks", own, 1),
        ("POST", "/api/tasks", own | {"content-type": ["application/json"]}, 10**9),
        ("GET", "/api/settings", own, 1),
    ]
    for method, path, headers, length in asked:
        refusal = gate.decide(method, path, headers, frozenset({"h"}), length=length)
        answer = DOCUMENT["paths"][path][method.lower()]["responses"][str(refusal.status)]
        assert refusal.code in answer["headers"]["X-Error-Code"]["schema"]["enum"]


# -- True of requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_defaults(body):
    """An absent field is what the document says it is."""
    for name, shape in body_schema(body)["properties"].items():
        field = body.model_fields[name]
        if body is ChangeBody:
            assert "default" not in shape  # absent it stays what it was
        elif not field.is_required():
            assert json.loads(json.dumps(field.get_default(call_default_factory=True))) == shape["default"]
            conforms(shape["default"], shape)


def test_limits_are_those_of_the_service():
    """Other limits are another document."""
    limits = WebLimits(url_bytes=77, filename_bytes=30, page_tasks=5, playlist_bytes=1024)
    schemas = document(version="1", mergers=("mp4",), storages=("disk",), limits=limits)["components"]["schemas"]
    assert (77, 1024) == tuple(schemas["NewTask"]["properties"][name]["maxLength"] for name in ("url", "playlist"))
    assert 77 == schemas["TaskChange"]["properties"]["url"]["maxLength"]
    assert list(MERGERS) == SCHEMAS["NewTask"]["properties"]["merger"]["enum"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.sampled_from(
        ["http://a.example/i.m3u8", " HTTPS://a/", "~", "~/x", "/x", "none", "best", "1-3", "vtt,srt", "***"]
    )
    | st.sampled_from(
        ["first", "last", "等待中", "已暂停", "a=b", "*", "socks5", "mp4", "en", "#EXTM3U", "0" * 32, "片.mp4"]
    ),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)
FIELD_NAMES = sorted({(body.__name__, name) for body in BODIES for name in body.model_fields})
TAKE = {
    "TaskBody": parse_task,
    "ChangeBody": parse_change,
    "SavedSettingsBody": parse_settings,
    "CurlBody": parse_curl_request,
}
SCHEMA_OF = {
    "TaskBody": "NewTask",
    "ChangeBody": "TaskChange",
    "SavedSettingsBody": "NewSettings",
    "CurlBody": "CurlCommand",
}


@settings(derandomize=True, deadline=None, max_examples=600)
@given(field=st.sampled_from(FIELD_NAMES), value=JSON)
def test_what_is_taken_is_described(field, value):
    """No field takes a value that the document forbids."""
    body, name = field
    whole = {"url": "http://a/", "filename": "x"} if body == "TaskBody" else {}
    if name.startswith("proxy"):
        whole |= {"advanced": True, "proxy_type": "http", "proxy_host": "h", "proxy_port": 1}
    try:
        TAKE[body](json.dumps(whole | {name: value}).encode())
    except Exception:  # it is not taken: nothing is claimed
        return
    conforms({name: value}, {"type": "object", "properties": SCHEMAS[SCHEMA_OF[body]]["properties"]})


def test_what_is_described_is_checked():
    """For each field there is a value of the wrong type that both the document and the service refuse."""
    for body, name in FIELD_NAMES:
        shape = {"type": "object", "properties": SCHEMAS[SCHEMA_OF[body]]["properties"]}
        with pytest.raises(jsonschema.ValidationError):
            conforms({name: None}, shape)


# -- True of answers -------------------------------------------------------------------------------------------------

TASK = Task(
    id="t1",
    spec=TaskSpec(
        url="http://a/",
        filename="x",
        headers={"A": ("b",)},
        settings=Settings(proxy_password="p"),
        extensions=Extensions(key="00" * 16, plugins={"p": {"a": 1}}),
        warnings=("w", Said("提示", "a hint")),
    ),
    status=Status.COMPLETED,
    completed_at=3.0,
    err_msg="x",
    err_code="http_4xx",
    incidents=(Incident(at=1.0, code="reset", text="x"),),
    progress=Progress(percent=3, eta_s=4.5, speed=2.5),
)


def exactly(value, name):
    """An answer conforms, and has every property that is described and no other."""
    conforms(value, {"$ref": f"#/components/schemas/{name}"})
    assert SCHEMAS[name]["properties"].keys() == value.keys()


def test_a_task():
    """As the list shows it, and alone."""
    shown = task_object(TASK, default_save_location="/srv")
    exactly(shown, "Task")
    exactly(shown | {"incidents": incidents_object(TASK.incidents)}, "TaskDetail")
    exactly(progress_object(TASK), "ProgressMessage")
    exactly(shown["advanced_settings"], "Settings")


def test_a_bare_task():
    """What is not always there is not promised."""
    bare = Task(id="t", spec=TaskSpec(url="", filename=""))
    conforms(task_object(bare, default_save_location=""), {"$ref": "#/components/schemas/Task"})
    conforms(progress_object(bare), {"$ref": "#/components/schemas/ProgressMessage"})


def test_settings():
    """All of them, and what they may be sent back as."""
    shown = system_object(SystemSettings()) | {"default_save_location": "/srv"}
    exactly(shown, "SystemSettings")
    conforms(shown, {"$ref": "#/components/schemas/NewSettings"})
    exactly(settings_object(Settings()), "Settings")


def test_counts():
    """With a disk that says what it has, and one that does not."""
    disks = (Space(path="/a", free_bytes=1, total_bytes=2), Space(path="/b"))
    exactly(counts_object(Overview(tally={Status.FAILED: 1}, speed=1.5, limit_rate=0, disks=disks)), "Counts")


LIVE = Live(
    speeds=(0, 5),
    hosts=(
        Standing(name="h:443", connections=2, limit=16, paused_for_s=None),
        Standing(name="i", connections=0, limit=1, paused_for_s=2.55),
    ),
    lines=(Line(at=1.5, level="warn", text="坏", text_en="bad"),),
    incidents=(Incident(at=1.0, code="reset", text="x"),),
)


def test_a_task_closely():
    """What it does, with a host that is left alone for now, and what it did."""
    shown = live_object(LIVE)
    exactly(shown, "Live")
    assert [None, 2.5] == [host["paused_for"] for host in shown["hosts"]]
    exactly(live_object(Live()), "Live")


def test_an_outline():
    """The answer to a dry run."""
    variant = OutlinedVariant(
        bandwidth=1, average_bandwidth=None, width=1, height=1, fps=25.0, range=None, codecs=("a",), audio_only=False,
        chosen=True,
    )  # fmt: skip
    rendition = OutlinedRendition(
        type="AUDIO", group="a", language="en", name="n", default=True, forced=False, inside=False, chosen=True,
        track="audio1",
    )  # fmt: skip
    outline = Outline(
        segments=1,
        skipped=0,
        gaps=0,
        duration_s=6.0,
        estimated_bytes=None,
        variants=(variant,),
        renditions=(rendition,),
        tracks=(OutlinedTrack(track="main", segments=1, duration_s=6.0),),
        skips=(OutlinedSkip(positions="1", count=1, reason="r"),),
        groups=(OutlinedGroup(number=1, first=1, last=1, start_s=0.0, duration_s=6.0, url="u", skipped=0),),
    )
    shown = outline_object(outline)
    exactly(shown, "Outline")
    properties = SCHEMAS["Outline"]["properties"]
    for name in ("variants", "renditions", "tracks", "groups"):
        assert shown[name][0].keys() == properties[name]["items"]["properties"].keys()
    assert (
        shown["segments"]["skips"][0].keys()
        == properties["segments"]["properties"]["skips"]["items"]["properties"].keys()
    )


def test_words_for_nothing_are_noticed():
    """Every table of words has the names of what it explains, and no others."""
    incidents = SCHEMAS["TaskDetail"]["properties"]["incidents"]
    assert incidents["items"]["properties"].keys() == INCIDENT.keys()
    assert SCHEMAS["Outline"]["properties"].keys() == OUTLINE.keys()
    assert SCHEMAS["Plugins"]["properties"]["plugins"]["items"]["properties"].keys() == PLUGIN.keys()
    assert SCHEMAS["Health"]["properties"]["degraded"]["items"]["properties"].keys() == REASON.keys()
    assert SCHEMAS["Health"]["properties"]["sandbox"]["properties"].keys() == SANDBOX.keys()
    used = {name for shape in SCHEMAS.values() for name in shape.get("properties", {})}
    assert used >= SHOWN.keys() - {"incidents"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/api/plugins", "Plugins"),
        ("/api/health", "Health"),
        ("/api/settings", "SystemSettings"),
        ("/api/tasks?id=t1", "TaskDetail"),
    ],
)
def test_answers_on_the_wire(wire, service, target, name):
    """What the routes really answer."""
    service.hold(TASK)
    exactly(wire.ask("GET", target).value, name)


def test_created_on_the_wire(wire):
    """A new task, with and without warnings, and the answer to a dry run."""
    body = {"url": "http://a/", "filename": "x", "unknown": 1}
    exactly(wire.ask("POST", "/api/tasks", body).value, "Created")
    exactly(wire.ask("POST", "/api/tasks?dry_run=true", body).value, "Outline")
    exactly(wire.ask("PUT", "/api/tasks?id=task-1", {"priority": 1, "unknown": 1}).value, "Success")


def test_a_curl_command_on_the_wire(wire):
    """One with all that there can be is answered with every field, and one with nothing with the needed ones."""
    command = "curl http://a/ -k -x http://u:p@h:1 --limit-rate 1M -H 'A: b' --retry 3"
    exactly(wire.ask("POST", "/api/curl", {"command": command}).value, "FromCurl")
    bare = wire.ask("POST", "/api/curl", {"command": "curl http://a/"}).value
    conforms(bare, {"$ref": "#/components/schemas/FromCurl"})
    assert bare.keys() == set(SCHEMAS["FromCurl"]["required"])


# -- Served ----------------------------------------------------------------------------------------------------------


def test_served(wire, service):
    """It is made once, when somebody asks, and asked for again it is only said to be the same."""
    first = wire.ask("GET", PATH)
    assert (200, "application/json; charset=utf-8", "no-cache") == (
        first.status,
        first.headers["content-type"],
        first.headers["cache-control"],
    )
    assert first.value == json.loads(
        json.dumps(document(version="1.2.3", mergers=service.plugins.merger_names, storages=("disk",)))
    )
    again = wire.ask("GET", PATH, headers={"If-None-Match": first.headers["etag"]})
    assert (304, b"") == (again.status, again.body)
    assert 200 == wire.ask("GET", PATH, headers={"If-None-Match": '"other"'}).status
    assert (405, "GET") == ((head := wire.ask("PUT", PATH)).status, head.headers["allow"])


def test_servers_below_a_base_path():
    """Where a proxy serves us below a path, requests made by the document go there."""
    below = document(version="1", mergers=("mp4",), storages=("disk",), base_path="/m3u8")
    assert ([{"url": "/m3u8"}], [{"url": "/"}]) == (below["servers"], DOCUMENT["servers"])


def test_every_body_has_examples():
    """Of the shape that they are examples of; tests/integration/test_api_examples.py sends them."""
    for method, operation in ((method, each) for path in DOCUMENT["paths"].values() for method, each in path.items()):
        if "requestBody" not in operation:
            continue
        [content] = operation["requestBody"]["content"].values()
        assert content["examples"], method
        for example in content["examples"].values():
            conforms(example["value"], content["schema"])
