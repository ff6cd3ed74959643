"""Exceptions that are hard to copy: each of several callers gets one that tells the same."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from microbatch import Batcher
from tests.handlers.asking import answering, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable


def library(name: str) -> Any:
    return pytest.importorskip(name, reason=f"has no wheel of {name} here")


def raised_by(call: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value


# ---------------------------------------------------------------------------------- made in Python
class SlottedWithParameters(Exception):
    __slots__ = ("__hidden", "number", "unset")

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({number})")
        self.number = number
        self.__hidden = reason

    def __str__(self) -> str:
        return f"{self.number}: {self.__hidden}"


class SlottedFurther(SlottedWithParameters):
    """One with weak references and a dict."""


class KeywordOnly(Exception):
    def __init__(self, *, number: int) -> None:
        super().__init__()
        self.number = number

    def __str__(self) -> str:
        return f"number {self.number}"


@dataclasses.dataclass
class Data(Exception):
    number: int
    reason: str = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    number: int


class SlottedArray(Exception):
    """One whose slot compares as an array does."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class NotEqual:
    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Reduced(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.both = first, second

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, self.both


class NativeWithParameters(OSError):
    __slots__ = ("place",)

    def __init__(self, *, path: str, place: int) -> None:
        super().__init__(2, "missing", path)
        self.place = place


class Undecodable(UnicodeDecodeError):
    def __init__(self, *, data: bytes) -> None:
        super().__init__("utf-8", data, 0, 1, "bad")


class Grouped(ExceptionGroup[Exception]):
    def __new__(cls, *errors: Exception) -> Self:
        return super().__new__(cls, "several", errors)

    def derive(self, errors: Any) -> Grouped:
        return Grouped(*errors)


# ----------------------------------------------------------------------------------- of libraries
def http_status_error() -> Exception:
    request = httpx.Request("GET", "http://127.0.0.1")
    return raised_by(httpx.Response(503, request=request).raise_for_status)


def grpc_error() -> Exception:
    grpc = library("grpc")
    error: Exception = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="gone"
    )
    return error


def aiohttp_error() -> Exception:
    aiohttp = library("aiohttp")
    key = aiohttp.client_reqrep.ConnectionKey("localhost", 80, False, True, None, None, None)
    error: Exception = aiohttp.ClientConnectorError(key, OSError(111, "refused"))
    return error


def aiohttp_response_error() -> Exception:
    aiohttp = library("aiohttp")
    headers = library("multidict").CIMultiDictProxy(library("multidict").CIMultiDict())
    url = library("yarl").URL("http://127.0.0.1")
    request = aiohttp.RequestInfo(url, "GET", headers, url)
    error: Exception = aiohttp.ClientResponseError(request, (), status=503, message="gone")
    return error


def attrs_error() -> Exception:
    attrs = library("attrs")

    @attrs.define
    class Attributed(Exception):
        number: int
        reason: str = attrs.field(kw_only=True)

    error: Exception = Attributed(3, reason="gone")
    return error


def pydantic_error(how: str = "type") -> Exception:
    pydantic, core = library("pydantic"), library("pydantic_core")

    def check(value: Any) -> Any:
        match how:
            case "value":
                raise ValueError("is odd {value}")
            case "assertion":
                raise AssertionError("is odd")
            case "custom":
                raise core.PydanticCustomError("odd", "{what} is odd", {"what": "{value}"})
        return value

    model = pydantic.create_model(
        "Question",
        __config__={"hide_input_in_errors": how == "hidden"},
        __validators__={"check": pydantic.field_validator("text")(check)},
        text=(str, ...),
        sizes=(list[int], ...),
    )
    return raised_by(lambda: model(text="x", sizes=[1, "z"]))


def old_pydantic_error() -> Exception:
    if sys.version_info >= (3, 14):
        pytest.skip("pydantic.v1 ends with Python 3.13")
    v1 = library("pydantic.v1")
    return raised_by(lambda: v1.create_model("Old", size=(int, ...))(size="x"))


HARD: dict[str, Callable[[], Exception]] = {
    "slots": lambda: SlottedWithParameters(3, reason="gone"),
    "slots-further": lambda: SlottedFurther(3, reason="gone"),
    "slots-array": lambda: SlottedArray(NotEqual()),
    "keyword-only": lambda: KeywordOnly(number=3),
    "dataclass": lambda: Data(3, reason="gone"),
    "dataclass-slots": lambda: FrozenSlots(3),
    "reduced": lambda: Reduced(1, 2),
    "os-error": lambda: NativeWithParameters(path="x", place=3),
    "two-files": lambda: OSError(18, "cross-device", "a", None, "b"),
    "decode": lambda: raised_by(b"\xff".decode),
    "encode": lambda: raised_by("\udc80".encode),
    "decode-own": lambda: Undecodable(data=b"\xff"),
    "json": lambda: raised_by(lambda: json.loads("{")),
    "key": lambda: raised_by(lambda: {}["x"]),
    "name": lambda: raised_by(lambda: eval("missing")),
    "attribute": lambda: raised_by(lambda: object().x),  # type: ignore[attr-defined]
    "import": lambda: raised_by(lambda: __import__("microbatch.missing")),
    "syntax": lambda: raised_by(lambda: compile("(", "file", "exec")),
    "pickle": lambda: raised_by(lambda: pickle.dumps(lambda: 0)),
    "process": lambda: subprocess.CalledProcessError(3, ["x"], "out", "err"),
    "group": lambda: ExceptionGroup("several", [ValueError(1), KeyError(2)]),
    "group-own": lambda: Grouped(ValueError(1), KeyError(2)),
    "httpx": http_status_error,
    "grpc": grpc_error,
    "aiohttp": aiohttp_error,
    "aiohttp-response": aiohttp_response_error,
    "attrs": attrs_error,
    "numpy": lambda: library("numpy").exceptions.AxisError(3, 2, "no"),
    "polars": lambda: raised_by(lambda: library("polars").DataFrame({"a": [1]})["b"]),
    "pyarrow": lambda: raised_by(lambda: library("pyarrow").array([1, "x"])),
    "pydantic": pydantic_error,
    "pydantic-hidden": lambda: pydantic_error("hidden"),
    "pydantic-value": lambda: pydantic_error("value"),
    "pydantic-assertion": lambda: pydantic_error("assertion"),
    "pydantic-custom": lambda: pydantic_error("custom"),
    "pydantic-old": old_pydantic_error,
}
TOLD = ("number", "place", "errno", "strerror", "filename", "filename2", "object", "start", "end")
TOLD += ("reason", "encoding", "name", "path", "obj", "exceptions", "doc", "pos", "status")
TOLD += ("request", "response", "axis", "ndim", "title", "cmd", "output", "lineno", "text", "model")


def all_that_it_tells(error: Any) -> dict[str, Any]:
    told = {name: value for name in TOLD if not callable(value := getattr(error, name, None))}
    told |= {"args": error.args, "text": str(error), "vars": vars(error), "type": type(error)}
    if hasattr(error, "errors"):
        told["errors"] = error.errors()
    return told


@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
async def test_what_is_hard_to_copy_is_copied_for_each(make: Callable[[], Exception]) -> None:
    error = make()

    async def handler(items: list[Any]) -> None:
        raise error

    first, second = await outcomes(Batcher(handler))
    assert len({id(each) for each in (first, second, error)}) == 3
    for own in (first, second):
        assert own.__cause__ is error
        assert all_that_it_tells(own) == all_that_it_tells(error)


@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
async def test_the_only_caller_gets_a_copy_of_what_can_be_copied(
    make: Callable[[], Exception],
) -> None:
    error = make()
    (own,) = await outcomes(answering([error]), [1])
    assert own is not error
    assert own.__cause__ is error
    assert type(own) is type(error)


async def test_a_slot_that_was_never_set_is_not_set_in_the_copy() -> None:
    (own,) = await outcomes(answering([SlottedWithParameters(3, reason="gone")]), [1])
    assert own.number == 3
    assert not hasattr(own, "unset")
