"""Calls are done in order, by as many threads as there are, and what waits is taken together."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from besom.server.crew import Crew


def test_calls_of_one_thread_are_done_in_the_order_they_came() -> None:
    done: list[int] = []

    def call(number: int) -> int:
        done.append(number)
        return number

    async def main() -> list[int]:
        crew: Crew[int] = Crew(1)
        return await asyncio.gather(*(crew.do(partial(call, number)) for number in range(100)))

    assert asyncio.run(main()) == list(range(100))
    assert done == list(range(100))


def test_calls_are_shared_out_among_all_threads() -> None:
    together = threading.Barrier(4)  # passed only by four at once

    async def main() -> list[int]:
        crew: Crew[int] = Crew(4)
        return await asyncio.gather(*(crew.do(lambda: together.wait(10)) for _ in range(4)))

    assert sorted(asyncio.run(main())) == [0, 1, 2, 3]


def test_a_caller_that_is_gone_holds_nobody_up() -> None:
    free = threading.Event()

    async def main() -> str:
        crew: Crew[str] = Crew(1)
        gone = crew.do(lambda: str(free.wait(10)))
        await asyncio.sleep(0)  # the thread has it
        late = crew.do(lambda: "done")
        gone.cancel()
        free.set()
        return await asyncio.wait_for(late, 10)

    assert asyncio.run(main()) == "done"
