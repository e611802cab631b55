"""What every input is judged by: it is taken, or refused by a clear error; soon, within bounds of memory, and without
a file left behind."""

import collections
import copy
import dataclasses
import json
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import strategies as st

SECONDS = 20.0
BYTES = 1_500_000_000
LONGEST = 3000


class Hung(BaseException):
    """No answer in time; no reader's own except catches it."""


@dataclasses.dataclass
class Tally:
    """What became of the inputs of one reader; `failures` are counted where `gathering`, else raised."""

    reader: str
    gathering: bool
    taken: int = 0
    refused: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failures: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    slowest: float = 0.0

    def judge(
        self,
        call: Callable[[], object],
        allowed: tuple[type[Exception], ...],
        names: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        """Count one input.

        Args:
            call: reads it.
            allowed: the errors that the reader documents.
            names: what the message of a refusal has to name.
            folder: in which nothing may be added or taken away.
        """
        before = sorted(folder.rglob("*")) if folder else []
        began = time.perf_counter()
        try:
            with limits(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as outside of tests, where they are no errors
                self._count(call, allowed, names)
            if folder and sorted(folder.rglob("*")) != before:
                left = sorted(
                    {path.name for path in folder.rglob("*")} - {path.name for path in before}
                )
                raise AssertionError(f"files were left or taken: {left}")
        except (Exception, Hung) as error:
            if not self.gathering:
                raise
            self.failures[_signature(error)] += 1
        self.slowest = max(self.slowest, time.perf_counter() - began)

    def _count(
        self, call: Callable[[], object], allowed: tuple[type[Exception], ...], names: Path | None
    ) -> None:
        try:
            call()
            self.taken += 1
        except allowed as error:
            text = str(error)
            clear = 15 <= len(text) <= LONGEST and (names is None or names.name in text)
            if not clear or isinstance(error, UnicodeError | RecursionError):
                raise AssertionError(f"unclear {type(error).__name__}: {text[:200]!r}") from error
            self.refused[type(error).__name__] += 1

    def to_json(self) -> dict[str, object]:
        """Counts by outcome."""
        inputs = self.taken + sum(self.refused.values()) + sum(self.failures.values())
        return {
            "inputs": inputs,
            "taken": self.taken,
            "refused": dict(sorted(self.refused.items())),
            "failures": dict(sorted(self.failures.items())),
            "slowest_seconds": round(self.slowest, 2),
        }


def _signature(error: BaseException) -> str:
    """The kind of error and the line of the library that it came from."""
    cause = error.__cause__ if isinstance(error, AssertionError) and error.__cause__ else error
    own = [
        f
        for f in traceback.extract_tb(cause.__traceback__)
        if "/graphfew/" in f.filename.replace("\\", "/")
    ]
    where = f" in {Path(own[-1].filename).name}: {own[-1].name}" if own else ""
    kind = f"unclear {type(cause).__name__}" if cause is not error else type(error).__name__
    return f"{kind}{where}"


@contextmanager
def limits() -> Iterator[None]:
    """A bound on time, and on the memory that is asked for on top of what the process has."""
    if sys.platform != "linux":
        yield
        return
    import resource

    def ring(number: int, frame: object) -> None:
        raise Hung(f"no answer within {SECONDS} seconds")

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


WORDS = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\xff\xff\xff\x7f",
    b"\x00" * 8,
    b"\xff" * 8,
    b"\xff" * 7 + b"\x7f",
    b"\x01\0\0\0",
    b"\x00\x00\x00\x80",
    b"../../../../tmp/came",
    b"\n",
    b"{",
    b"[",
    b'"',
    b"\xf0\x9f\x92\xa5",
    b"PK\x05\x06",
)


def mutated(raw: bytes) -> st.SearchStrategy[bytes]:
    """A file with bits flipped, parts cut, doubled or written over; now and then cut short, or as it is."""
    return st.integers(0, 2**32 - 1).map(lambda seed: _mutated(bytearray(raw), random.Random(seed)))


def _mutated(raw: bytearray, rng: random.Random) -> bytes:
    # Heads and ends hold what readers rely on, so they are hit more often than the rest.
    def place() -> int:
        n = len(raw)
        return rng.choice(
            [
                rng.randrange(n + 1),
                rng.randrange(min(n, 256) + 1),
                n - rng.randrange(min(n, 256) + 1),
            ]
        )

    for _ in range(rng.choice([0, 1, 1, 1, 2, 4, 16])):
        a, b = sorted((place(), place()))
        b = min(b, a + rng.choice([1, 4, 64, 4096]))
        kind = rng.randrange(6)
        if kind == 0 and a < len(raw):
            raw[a] ^= 1 << rng.randrange(8)
        elif kind == 1:
            word = rng.choice(WORDS)
            raw[a : a + len(word)] = word
        elif kind == 2:
            del raw[a:b]
        elif kind == 3:
            raw[a:a] = raw[a:b]
        elif kind == 4:
            raw[a:b] = rng.randbytes(b - a)
        else:
            raw[a:a] = rng.choice(WORDS)
    return bytes(raw[: place()] if rng.random() < 0.1 else raw)


HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 2**31, 2**63, 10**30, 10**9, -(10**12), 10**300]),
    st.integers(-5, 50),
    st.floats(),
    st.sampled_from(["", "a", "\0", "é", "\ud800", "x" * 5000, "../up", "1e999"]),
    st.text(max_size=5),
)


def json_like(leaves: st.SearchStrategy[object] = HOSTILE) -> st.SearchStrategy[object]:
    """Values as JSON has them, and some that it has not."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)
        ),
        max_leaves=6,
    )


def altered(content: object, values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A tree of dicts and lists with some of its parts put off, doubled or replaced."""
    return st.tuples(st.integers(0, 2**32 - 1), st.lists(values, min_size=1, max_size=4)).map(
        lambda pair: _altered(json.loads(json.dumps(content)), random.Random(pair[0]), pair[1])
    )


def _altered(content: object, rng: random.Random, values: list[object]) -> object:
    for value in values:
        spots = list(_spots(content))
        if not spots:
            return value
        owner, key = rng.choice(spots)
        kind = rng.randrange(8)
        if kind == 0:
            del owner[key]
        elif kind == 1 and isinstance(owner, list):
            owner.append(copy.deepcopy(owner[key]))
        elif kind == 2 and isinstance(owner, dict) and isinstance(value, str):
            with suppress(KeyError):
                owner[value] = owner.pop(key)
        else:
            owner[key] = copy.deepcopy(
                value
            )  # which is altered in its turn, and must not hold itself
    return content


def _spots(content: object) -> Iterator[tuple[object, object]]:
    parts = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in parts:
        yield content, key
        yield from _spots(value)


def written(folder: Path, name: str, content: bytes) -> Path:
    """The file, and a folder of its own for it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def deep_json(depth: int = 200_000) -> bytes:
    """Brackets nested deeper than a parser that calls itself can follow."""
    return b"[" * depth + b"]" * depth
