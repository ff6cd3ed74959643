"""Every wrong option is told at once: its name, the rule and the value."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import sys
from concurrent.futures import Executor
from fractions import Fraction
from typing import Any, get_type_hints

import pytest
import tenacity

from microbatch import Batcher, BatcherOptions, batched
from microbatch.options import Options

COUNTS = [
    "max_batch_size",
    "max_concurrent_batches",
    "stream_buffer",
    "capacity",
    "max_concurrent_batches_per_key",
]
KIND = dict.fromkeys(COUNTS[:3], "an integer") | dict.fromkeys(COUNTS[3:], "an integer or None")
WORDS = {
    "overflow": "'wait', 'reject', 'drop_oldest'",
    "ordering": "'unordered', 'ordered'",
    "stream_overflow": "'wait', 'fail'",
    "on_error": "'fail', 'bisect'",
    "timeout_policy": "'partial', 'fail', a callable",
    "overweight": "'alone', 'reject'",
}
FIELDS = [field.name for field in dataclasses.fields(Options)]


class CoroutineObserver:
    async def __call__(self, event: object) -> None: ...


BAD: list[tuple[str, Any, type[Exception], str]] = [
    *((name, value, ValueError, f"{name} must be >= 1, got {value}")
      for name in COUNTS for value in (0, -1, -64)),
    *((name, 2**64, ValueError, f"{name} must be <= {sys.maxsize}, got {2**64}")
      for name in COUNTS),
    *((name, value, TypeError, f"{name} must be {KIND[name]}, got {value!r}")
      for name in COUNTS for value in (True, False, 1.0, math.nan, math.inf, "8", [1])),
    *((name, None, TypeError, f"{name} must be an integer, got None")
      for name in ("max_batch_size", "max_concurrent_batches", "stream_buffer")),
    ("max_latency", -0.001, ValueError, "max_latency must be >= 0, got -0.001"),
    ("max_latency", -1, ValueError, "max_latency must be >= 0, got -1"),
    *((name, value, ValueError, f"{name} must be a finite number of seconds, got {value!r}")
      for name in ("max_latency", "timeout", "ageing")
      for value in (math.nan, math.inf, -math.inf)),
    *((name, value, ValueError, f"{name} must be a finite number of seconds, got {value!r}")
      for name in ("max_auto_latency",) for value in (math.nan, math.inf, -math.inf)),
    *(("ageing", value, TypeError, f"ageing must be a number of seconds, got {value!r}")
      for value in (True, False, "1", [1], 1j)),
    *(("max_latency", value, TypeError,
       f"max_latency must be a number of seconds or 'auto', got {value!r}")
      for value in (True, False, "1", "Auto", [1], 1j, None)),
    *((name, value, TypeError, f"{name} must be a number of seconds or None, got {value!r}")
      for name in ("timeout", "max_auto_latency") for value in (True, False, "1", "auto", [1], 1j)),
    ("max_auto_latency", -0.001, ValueError, "max_auto_latency must be >= 0, got -0.001"),
    ("timeout", 0, ValueError, "timeout must be > 0, got 0"),
    ("timeout", 0.0, ValueError, "timeout must be > 0, got 0.0"),
    ("timeout", -2.5, ValueError, "timeout must be > 0, got -2.5"),
    *((name, value, ValueError, f"{name} must be one of {words}, got {value!r}")
      for name, words in WORDS.items() for value in ("Wait", "", None, 0, True, ["wait"])),
    *(("ageing", value, ValueError, f"ageing must be > 0, got {value}") for value in (0, -1.5)),
    *(("max_batch_weight", value, TypeError, f"max_batch_weight must be a number, got {value!r}")
      for value in (True, "1", [1], 1j)),
    *(("max_batch_weight", value, ValueError,
       f"max_batch_weight must be > 0 and finite, got {value!r}")
      for value in (0, -1, math.inf, math.nan, 10**400)),
    *((name, asyncio.sleep, TypeError,
       f"{name} must be called without await, got {asyncio.sleep!r}")
      for name in ("weigh", "key", "priority", "dedupe")),
    *((name, value, TypeError, f"{name} must be a callable or None, got {value!r}")
      for name in ("weigh", "key", "priority", "dedupe") for value in (1, "len", True)),
    ("weigh", len, ValueError, f"weigh must not be given without max_batch_weight, got {len!r}"),
    ("overweight", "reject", ValueError,
     "overweight must be 'alone' without max_batch_weight, got 'reject'"),
    *(("retry", value, TypeError, f"retry must be a tenacity.AsyncRetrying or None, got {value!r}")
      for value in (3, True, "twice", tenacity.Retrying(), tenacity.AsyncRetrying)),
    *((name, value, TypeError, f"{name} must be True or False, got {value!r}")
      for name in ("cancel_abandoned", "capture_context", "dedupe_in_flight", "stream", "columnar")
      for value in (0, 1, None, "yes")),
    ("dedupe_in_flight", True, ValueError,
     "dedupe_in_flight must be False without dedupe, got True"),
    *(("observer", value, TypeError, f"observer must be a callable or None, got {value!r}")
      for value in (0, "print", [print])),
    *(("observer", value, TypeError, f"observer must be called without await, got {value!r}")
      for value in (asyncio.sleep, CoroutineObserver())),
    *(("executor", value, TypeError,
       f"executor must be a concurrent.futures.Executor or None, got {value!r}")
      for value in (3, "thread", True, Executor)),
    *((name, value, TypeError, f"{name} must be a string that is not empty, or None, got {value!r}")
      for name in ("name",) for value in ("", 1, b"name")),
]  # fmt: skip


async def handler(items: list[int]) -> list[int]:
    return items


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD)
def test_a_wrong_option_is_named_with_its_rule_and_value(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        Batcher(handler, **{name: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD[:3])
def test_the_decorator_tells_the_same_before_it_decorates(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        batched(**{name: value})
    assert str(caught.value) == message


def test_every_option_has_a_test_of_wrong_values() -> None:
    assert {name for name, *_ in BAD} == set(FIELDS)


def test_a_timeout_below_max_latency_would_make_every_item_late() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Batcher(handler, max_latency=2.0, timeout=0.5)
    assert str(caught.value) == (
        "timeout must be > max_latency (2.0), or items would be late before they are dispatched, "
        "got 0.5"
    )


def test_a_timeout_that_equals_max_latency_would_make_every_waiting_item_late() -> None:
    with pytest.raises(ValueError, match=r"^timeout must be > max_latency \(2\.0\), .* got 2$"):
        Batcher(handler, max_latency=2, timeout=2)


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({}, math.inf),
        ({"max_auto_latency": 2}, 2.0),
        ({"max_auto_latency": Fraction(1, 4)}, 0.25),
        ({"timeout": 2.0}, 0.5),
        ({"timeout": 2.0, "max_auto_latency": 0.75}, 0.5),
        ({"timeout": 2.0, "max_auto_latency": 0.0}, 0.0),
    ],
)
def test_what_is_learned_is_at_most_what_one_says_and_a_quarter_of_the_timeout(
    options: dict[str, Any], bound: float
) -> None:
    known = Batcher(handler, max_latency="auto", **options).options
    assert (known.max_latency, known.learns_latency) == ("auto", True)
    assert known.longest_learned_wait == bound
    assert not Batcher(handler, **options).options.learns_latency


def test_a_number_beyond_every_float_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^max_latency must be a finite number of seconds, got 1000"
    ):
        Batcher(handler, max_latency=10**400)


def test_a_batcher_is_no_handler() -> None:
    with pytest.raises(TypeError) as caught:
        Batcher(Batcher(handler))  # type: ignore[call-overload]
    assert str(caught.value) == (
        "handler must be a function of a list of items, got <Batcher 'handler'>, "
        "which is a batcher already: use it as it is"
    )


def test_results_by_priority_have_no_order() -> None:
    with pytest.raises(ValueError, match=r"^ordering must be 'unordered' with a priority, got "):
        Batcher(handler, ordering="ordered", priority=len)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="max_batchsize"):
        Batcher(handler, max_batchsize=3)  # type: ignore[call-arg]


def test_options_are_keyword_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        Batcher(handler, 3)  # type: ignore[misc]


def test_the_typed_dict_and_the_dataclass_have_the_same_options() -> None:
    assert list(BatcherOptions.__annotations__) == FIELDS
    assert get_type_hints(BatcherOptions) == get_type_hints(Options)
    assert BatcherOptions.__required_keys__ == frozenset()


def test_the_defaults_are_those_of_the_design() -> None:
    assert dataclasses.asdict(Options()) == {
        "max_batch_size": 64,
        "max_latency": 0.0,
        "max_auto_latency": None,
        "max_concurrent_batches": 1,
        "capacity": 10_000,
        "overflow": "wait",
        "ordering": "unordered",
        "timeout": None,
        "timeout_policy": "partial",
        "max_batch_weight": None,
        "weigh": None,
        "overweight": "alone",
        "key": None,
        "max_concurrent_batches_per_key": None,
        "priority": None,
        "ageing": 1.0,
        "dedupe": None,
        "dedupe_in_flight": False,
        "retry": None,
        "on_error": "fail",
        "cancel_abandoned": True,
        "observer": None,
        "capture_context": False,
        "executor": None,
        "name": None,
        "stream_buffer": 64,
        "stream_overflow": "wait",
        "stream": False,
        "columnar": False,
    }


def test_numbers_of_other_kinds_are_taken_for_what_they_are() -> None:
    class Eight:
        def __index__(self) -> int:
            return 8

    options = Batcher(
        handler,
        max_batch_size=Eight(),  # type: ignore[arg-type]
        max_latency=Fraction(1, 4),  # type: ignore[arg-type]
        timeout=1,
    ).options
    assert (options.max_batch_size, options.max_latency, options.timeout) == (8, 0.25, 1.0)
    assert [type(each) for each in (options.max_batch_size, options.timeout)] == [int, float]


def test_options_never_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Batcher(handler).options.max_batch_size = 3  # type: ignore[misc]


def test_none_is_no_bound_on_capacity_and_no_timeout() -> None:
    options = Batcher(handler, capacity=None, timeout=None, name=None).options
    assert (options.capacity, options.timeout) == (None, None)


# -------------------------------------------------------------------------------------------- names
def test_a_batcher_is_named_after_its_handler_or_as_one_says() -> None:
    assert Batcher(handler).name == "handler"
    assert Batcher(handler, name="embeddings").name == "embeddings"
    assert repr(Batcher(handler, name="embeddings")) == "<Batcher 'embeddings'>"
