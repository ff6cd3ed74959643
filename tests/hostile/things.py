"""Hostile objects: each may act in its special methods, and when it is let go."""

from __future__ import annotations

import collections.abc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.mischief import Mischief

HOOKS = frozenset(
    {
        "key",
        "weigh",
        "priority",
        "dedupe",
        "hash",
        "eq",
        "lt",
        "repr",
        "float",
        "index",
        "iter",
        "len",
        "getitem",
        "item del",
        "key del",
        "result del",
        "error del",
        "error copy",
        "callback del",
        "message del",
        "number del",
        "cycle del",
        "callback",
        "handler",
        "observer",
        "policy",
    }
)
"""Where hostile code is called."""


class Numbered:
    """What belongs to the item of that number, and equals nothing else."""

    __slots__ = ("__weakref__", "mischief", "number")

    def __init__(self, mischief: Mischief, number: int) -> None:
        self.mischief = mischief
        self.number = number

    def __eq__(self, other: object) -> bool:
        self.mischief.strike("eq")
        return self is other

    def __hash__(self) -> int:
        self.mischief.strike("hash")
        return self.number


class Item(Numbered):
    """One submission's item."""

    __slots__ = ("key", "priority", "same", "weight")

    def __init__(self, mischief: Mischief, number: int) -> None:
        super().__init__(mischief, number)
        self.key = self.same = 0
        self.weight = 1.0
        self.priority = 0.0

    def __lt__(self, other: Any) -> bool:
        self.mischief.strike("lt")
        return bool(self.number < other.number)

    def __repr__(self) -> str:
        self.mischief.strike("repr")
        return f"<item {self.number}>"

    def __del__(self) -> None:
        self.mischief.strike("item del")


class Comparison:
    """What comparing has shown, for whoever asks."""

    def __init__(self, mischief: Mischief, same: bool) -> None:
        self.mischief = mischief
        self.same = same

    def __bool__(self) -> bool:
        self.mischief.strike("eq")
        return self.same

    def __del__(self) -> None:
        self.mischief.strike("eq")


class Key:
    """A key that equals others of the same value, or raises Spite."""

    __slots__ = ("__weakref__", "mischief", "value")

    def __init__(self, mischief: Mischief, value: int) -> None:
        self.mischief = mischief
        self.value = value

    def __eq__(self, other: object) -> Any:
        self.mischief.strike("eq")
        same = isinstance(other, Key) and self.value == other.value
        return same if self.value % 3 else Comparison(self.mischief, same)

    def __hash__(self) -> int:
        self.mischief.strike("hash")
        return self.value % 2  # so that different keys collide

    def __lt__(self, other: Any) -> bool:
        self.mischief.strike("lt")
        return bool(self.value < other.value)

    def __repr__(self) -> str:
        self.mischief.strike("repr")
        return f"<key {self.value}>"

    def __del__(self) -> None:
        self.mischief.strike("key del")


class Result(Numbered):
    """The result of the item of that number."""

    __slots__ = ()

    def __del__(self) -> None:
        self.mischief.strike("result del")


class Refusal(Exception):
    """What became of the item of that number, or of a whole call."""

    def __init__(self, mischief: Mischief, what: str, number: int) -> None:
        super().__init__(what, number)
        self.mischief = mischief
        self.token = (what, number)

    def __del__(self) -> None:
        mischief = self.__dict__.get("mischief")  # a copy may have none yet
        if mischief is not None:
            mischief.strike("error del")


class Stubborn(Refusal):
    """A refusal that acts when it is copied, and the copy is compared."""

    def __str__(self) -> str:
        self.mischief.strike("error copy")
        return super().__str__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.mischief.strike("error copy")
        return super().__reduce_ex__(protocol)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "__cause__":
            self.mischief.strike("error copy")
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        self.mischief.strike("eq")
        return self is other

    __hash__ = Exception.__hash__


class Collection(list[Any]):
    """A list that acts when it is looked at."""

    def __init__(self, mischief: Mischief, content: list[Any]) -> None:
        super().__init__(content)
        self.mischief = mischief

    def __iter__(self) -> Iterator[Any]:
        self.mischief.strike("iter")
        for each in super().__iter__():
            yield each
            self.mischief.strike("iter")

    def __len__(self) -> int:
        self.mischief.strike("len")
        return super().__len__()

    def __getitem__(self, place: Any) -> Any:
        self.mischief.strike("getitem")
        return super().__getitem__(place)


class Row(collections.abc.Sequence[Any]):
    """A sequence that acts when it is looked at."""

    def __init__(self, mischief: Mischief, content: list[Any]) -> None:
        self.mischief = mischief
        self.content = content

    def __len__(self) -> int:
        self.mischief.strike("len")
        return len(self.content)

    def __getitem__(self, place: Any) -> Any:
        self.mischief.strike("getitem")
        return self.content[place]


class Number:
    """A number that acts when it is asked for its value."""

    __slots__ = ("mischief", "value")

    def __init__(self, mischief: Mischief, value: float) -> None:
        self.mischief = mischief
        self.value = value

    def __float__(self) -> float:
        self.mischief.strike("float")
        return float(self.value)

    def __index__(self) -> int:
        self.mischief.strike("index")
        return int(self.value)

    def __add__(self, other: Any) -> float:
        self.mischief.strike("float")
        return self.value + float(other)

    __radd__ = __add__

    def __repr__(self) -> str:
        self.mischief.strike("repr")
        return f"<number {self.value}>"

    def __del__(self) -> None:
        self.mischief.strike("number del")


class Message:
    """What a ticket is cancelled with."""

    __slots__ = ("mischief",)

    def __init__(self, mischief: Mischief) -> None:
        self.mischief = mischief

    def __del__(self) -> None:
        self.mischief.strike("message del")


class Cycle:
    """Garbage that acts when the collector comes by."""

    __slots__ = ("itself", "mischief")

    def __init__(self, mischief: Mischief) -> None:
        self.mischief = mischief
        self.itself = self

    def __del__(self) -> None:
        self.mischief.strike("cycle del")
