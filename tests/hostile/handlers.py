"""Handlers that answer, fail, miscount, give up and act."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.hostile import ledger as tokens
from tests.hostile.mischief import held_back
from tests.hostile.things import Collection, Number, Refusal, Result, Row, Stubborn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.hostile.machine import Machine
    from tests.hostile.things import Item


class Handlers:
    """What handlers of one machine do."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.mischief = machine.mischief
        self.rng = machine.rng
        self.ledger = machine.ledger
        self.failing = machine.plan.failing

    def chosen(self) -> Callable[[list[Any]], Any]:
        kind = self.machine.plan.handler
        return self.make_one_by_one() if kind == "one by one" else self.make_whole(kind == "whole")

    def make_whole(self, takes_time: bool) -> Callable[[list[Any]], Any]:
        async def whole(items: list[Item]) -> Any:
            self.machine.begin(items)
            try:
                self.mischief.strike("handler")
                if takes_time:
                    await asyncio.sleep(self.pace())
                    self.mischief.strike("handler")
                return self.answer(items)
            except BaseException as error:
                self.fail(items, error)
                raise
            finally:
                self.machine.end(items)

        return whole

    def make_one_by_one(self) -> Callable[[list[Any]], Any]:
        async def one_by_one(items: list[Item]) -> AsyncIterator[tuple[Any, Any]]:
            self.machine.begin(items)
            try:
                for place in self.order(items):
                    self.mischief.strike("handler")
                    pair = self.pair(items, place)
                    yield pair
                    del pair
                    await asyncio.sleep(self.pace())
                self.miss(items)
            except BaseException as error:
                self.fail(items, error)
                raise
            finally:
                self.machine.end(items)

        return one_by_one

    @held_back
    def pace(self) -> float:
        return self.rng.choice(self.machine.plan.paces)

    # --------------------------------------------------------------------------------- answering
    @held_back
    def answer(self, items: list[Item]) -> Any:
        """Answer a batch, or fail."""
        if self.rng.random() < self.failing:
            way = self.rng.choice(["raise", "cancel", "short", "long", "none"])
            if way == "raise":
                raise self.refusal("call", next(self.machine.numbers))
            if way == "cancel":
                raise asyncio.CancelledError
            if way == "none":
                self.note(items, tokens.NOTHING)
                return None
            self.note(items, tokens.COUNT)
            count = len(items) + (1 if way == "long" else -1)
            return [None] * count
        answers = [self.result(item) for item in items]
        shape = self.rng.choice(["list", "list", "tuple", "collection", "row"])
        if shape in ("list", "tuple"):
            return answers if shape == "list" else tuple(answers)
        self.note(items, tokens.SPITE)
        return (Collection if shape == "collection" else Row)(self.mischief, answers)

    def result(self, item: Item) -> Any:
        if self.rng.random() < self.failing / 2:
            self.ledger.answer(item.number, ("item", item.number))
            return self.refusal("item", item.number)
        self.ledger.answer(item.number, ("result", item.number))
        result = Result(self.mischief, item.number)
        self.ledger.know(result)
        return result

    def refusal(self, what: str, number: int) -> Refusal:
        kind = self.rng.choice([Refusal, Stubborn])
        error = kind(self.mischief, what, number)
        self.ledger.know(error)
        return error

    def note(self, items: list[Item], token: Any) -> None:
        for item in items:
            self.ledger.answer(item.number, token)

    @held_back
    def fail(self, items: list[Item], error: BaseException) -> None:
        """Take note of what a call ends with."""
        if not isinstance(error, GeneratorExit):
            cancelled = isinstance(error, asyncio.CancelledError)
            self.note(items, tokens.CANCELLED if cancelled else tokens.token_of(error))

    # ------------------------------------------------------------------------------------- pairs
    @held_back
    def order(self, items: list[Item]) -> list[int]:
        """Give the places to answer, or some of them."""
        places = list(range(len(items)))
        if self.rng.random() < 0.3:
            self.rng.shuffle(places)
        if self.rng.random() < self.failing:
            places.pop()
        return places

    @held_back
    def pair(self, items: list[Item], place: int) -> tuple[Any, Any]:
        if self.rng.random() < self.failing / 4:
            raise self.refusal("call", next(self.machine.numbers))
        index = Number(self.mischief, place) if self.rng.random() < 0.1 else place
        if index is not place:
            self.note(items, tokens.SPITE)
        return index, self.result(items[place])

    @held_back
    def miss(self, items: list[Item]) -> None:
        self.note(items, tokens.COUNT)

    # -------------------------------------------------------------------------------- the policy
    def policy(self, items: list[Item]) -> Any:
        """Answer what is late."""
        try:
            self.mischief.strike("policy")
            return self.answer(items)
        except BaseException as error:
            self.fail(items, error)
            raise
