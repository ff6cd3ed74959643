"""Read an answer by position, never by label, or say what to answer instead."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from microbatch.errors import BatchError, ResultCountError

__all__ = ["Expected", "by_position", "is_exact", "is_mapping", "is_table", "results_of"]

HINT = ", or set columnar=True to hand out its columns row by row"
TEXT = (str, bytes, bytearray)
"""What has places, and is one result all the same."""


class Expected(NamedTuple):
    """What a handler has to answer for some items; it makes the error where it did not."""

    name: str
    size: int
    verb: str = "return"
    each: str = "result"
    items: str = "items"
    where: str = ""
    """Which column, if it is one."""
    hint: str = ""
    """What a table or a mapping could be good for."""

    def refused(self, got: str) -> BatchError:
        """Make the error of an answer that has no places."""
        return BatchError(
            f"handler {self.name!r} must {self.verb} a sequence of {self.each}s or None"
            f"{self.where}, got {got}"
        )

    def miscounted(self, received: int) -> ResultCountError:
        """Make the error of an answer with another number of places."""
        return ResultCountError(
            self.name,
            self.size,
            received,
            f"handler {self.name!r} must {self.verb} one {self.each} for each of {self.size} "
            f"{self.items}{self.where}, got {received}",
        )


def results_of(answer: Any, size: int, name: str, hint: str = HINT) -> tuple[Any, ...]:
    """Give a handler's answer as one result for each of ``size`` items, by their position.

    None stands for a None for each. Raises ResultCountError when the number differs, and
    BatchError when the answer is no sequence, saying what to answer instead.
    """
    if answer is None:
        return (None,) * size
    if not is_exact(answer):
        return tuple(by_position(answer, Expected(name=name, size=size, hint=hint)))
    if len(answer) != size:
        raise ResultCountError(name, size, len(answer))
    return tuple(answer)


def by_position(answer: Any, expected: Expected) -> Sequence[Any]:
    """Give what stands at each place of an answer.

    Raises BatchError for what has no places in order, and ResultCountError where they are more or
    fewer than the items.
    """
    exact = is_exact(answer)
    if not exact and (got := refusal(answer, expected)):
        raise expected.refused(got)
    length = length_of(answer, expected)
    if length != expected.size:
        raise expected.miscounted(length)
    places: Sequence[Any] = answer if exact else read(answer, expected)
    return places


def is_exact(answer: Any) -> bool:
    """Tell whether iterating over an answer gives just what stands at its places."""
    return type(answer) in (list, tuple)


def length_of(answer: Any, expected: Expected) -> int:
    """Count the places of an answer; BatchError where its own code refuses to."""
    try:
        return len(answer)
    except TypeError as error:
        got = f"{answer.__class__.__qualname__}, which does not tell its length: {error}"
        raise expected.refused(got) from error


def read(answer: Any, expected: Expected) -> list[Any]:
    """Read each place by its number; what has a length may iterate over something else."""
    by_position = answer.iloc if hasattr(answer.__class__, "iloc") else answer
    places: list[Any] = []
    try:
        for place in range(expected.size):
            places.append(by_position[place])  # noqa: PERF401 (an IndexError tells how far it got)
    except IndexError:
        raise expected.miscounted(len(places)) from None
    return places


# ---------------------------------------------------------------------------------------- refusing
def refusal(answer: Any, expected: Expected) -> str | None:
    """Name an answer that has no places in order, and what to answer instead; None: it has."""
    kind = answer.__class__
    name: str = kind.__qualname__
    if isinstance(answer, TEXT):
        return f"{name}{how_to_list(answer, expected)}"
    if is_table(answer):
        return f"{name}, a table: {expected.verb} {how_to_get_rows(kind)}{expected.hint}"
    if is_mapping(answer):
        advice = f"{expected.verb} a list with one {expected.each} for each item"
        return f"{name}: {advice}{expected.hint}"
    if isinstance(answer, AbstractSet):
        return f"{name}, which has no order: {expected.verb} a list in the order of the items"
    if hasattr(kind, "ndim") and is_zero(answer.ndim):
        return (
            f"{name} of 0 dimensions: keep the one that counts the items, "
            "also where there is one item"
        )
    has_places = hasattr(kind, "__len__") and hasattr(kind, "__getitem__")
    return None if has_places else f"{name}{how_to_list(answer, expected)}"


def how_to_list(answer: Any, expected: Expected) -> str:
    """Say what list to answer instead of what has no places."""
    if isinstance(answer, Iterable) and not isinstance(answer, TEXT):
        return f", which has no places: {expected.verb} a list of what it gives"
    return f": {expected.verb} a list with one {expected.each} for each item"


def is_zero(number: object) -> bool:
    """Tell whether something is the integer 0."""
    return isinstance(number, int) and number == 0


def is_table(answer: Any) -> bool:
    """Tell whether an answer is a table, as a DataFrame is: its places are columns, or labels."""
    return hasattr(answer.__class__, "columns") and not isinstance(answer, Sequence)


def is_mapping(answer: Any) -> bool:
    """Tell whether an answer is found by keys; a Series, which has keys too, has positions."""
    if isinstance(answer, Mapping):
        return True
    kind = answer.__class__
    has_keys = hasattr(kind, "keys") and hasattr(kind, "items")
    return has_keys and not hasattr(kind, "iloc") and not isinstance(answer, Sequence)


def how_to_get_rows(kind: type) -> str:
    """Say how to get the rows of a table, which each library does in its own way."""
    ways = {
        "to_dicts": "frame.to_dicts()",
        "to_pylist": "table.to_pylist()",
        "iloc": "frame.to_dict('records')",
    }
    way = next((way for name, way in ways.items() if hasattr(kind, name)), None)
    return f"its rows, {way}" if way else "a list of its rows"
