"""
Values as JSON and back, exactly: tuples, bytes and frozen classes stay what they are. Pure.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import attrs

Json = Any  # Any: JSON


def freeze(value: object) -> Json:
    """
    A value as JSON.

    Raises:
        TypeError: it holds something that does not come back.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return {"bytes": value.hex()}
        case Fraction():
            return {"ratio": value.as_integer_ratio()}
        case tuple():
            return {"tuple": list(map(freeze, value))}
        case list():
            return list(map(freeze, value))
        case dict():
            return {"dict": [[freeze(key), freeze(each)] for key, each in value.items()]}
    kind = type(value)
    if attrs.has(kind):
        return {kind.__name__: {field.name: freeze(getattr(value, field.name)) for field in attrs.fields(kind)}}
    raise TypeError(f"{type(value).__name__} cannot be written down")


def thaw(value: Json, known: Mapping[str, type]) -> Any:  # Any: whatever was frozen
    """
    The value again. `known`: the attrs classes that it may hold, by name.
    """
    if isinstance(value, list):
        return [thaw(each, known) for each in value]
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    match kind:
        case "bytes":
            return bytes.fromhex(content)
        case "ratio":
            return Fraction(*content)
        case "tuple":
            return tuple(thaw(each, known) for each in content)
        case "dict":
            return {thaw(key, known): thaw(each, known) for key, each in content}
    return known[kind](**{name: thaw(each, known) for name, each in content.items()})
