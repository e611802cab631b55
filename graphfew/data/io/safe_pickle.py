"""Pickle files of arrays, read without unpickling: nothing that a file names is imported, called or built."""

from __future__ import annotations

import dataclasses
import mmap
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from graphfew.data.io.safe_pickle_arrays import BUILDERS, MARKERS, Blank, Name, built, keys

CONSTANTS = frozenset(
    (
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    )
)
GETS = frozenset(("BINGET", "LONG_BINGET", "GET"))
# what a damaged file, or one made to harm, may lead to
FAULTS = (
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    MemoryError,
    AssertionError,
    RecursionError,
)


def read_pickle(path: Path) -> Any:
    """What a pickle file of plain values and arrays holds, of any protocol (0 to 5), written by Python 2 or 3.

    Plain values are dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, bool and None; beside them
    numpy's arrays (views of the file's bytes, most of them read-only), scalars and dtypes without fields. Texts of
    Python 2 become str, a character for each byte. The file's steps are carried out one by one by functions of this
    library; a step that asks for anything else ends the reading.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is damaged or no pickle, or that names anything else; nothing that it names was run.
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _run(content)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} has texts that its protocol cannot hold ({error.reason}); write it anew with "
                "protocol 2 or later"
            ) from error
        except FAULTS as error:
            reason = (
                f"{error}"
                if type(error) is ValueError
                else f"damaged: {type(error).__name__} {error}"
            )
            raise ValueError(
                f"{path} cannot be read as a pickle of arrays ({reason}); get it again, or write it anew "
                "with plain values and numpy arrays only"
            ) from error


def _run(content: Any) -> Any:
    # a first reading tells which values are asked for again: the others, among them all pixels, need not be kept
    machine = _Machine(
        {argument for opcode, argument, _ in pickletools.genops(content) if opcode.name in GETS}
    )
    content.seek(0)
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in CONSTANTS:
            machine.stack.append(argument)
        elif opcode.name != "STOP":
            machine.step(opcode.name, argument)
    if len(machine.stack) != 1 or machine.below:
        raise ValueError(f"it ends with {len(machine.stack)} values where one is due")
    return machine.stack[0]


@dataclasses.dataclass
class _Machine:
    """The stack since the last mark, the stacks below earlier marks, and the values kept by number.

    `wanted` are the numbers that are asked for; what has another is not kept. `unfinished` holds the number under which
    an array or dtype was kept before its state came, by its identity.
    """

    wanted: set[Any]
    stack: list[Any] = dataclasses.field(default_factory=list)
    below: list[list[Any]] = dataclasses.field(default_factory=list)
    kept: dict[int, Any] = dataclasses.field(default_factory=dict)
    unfinished: dict[int, int] = dataclasses.field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        """Carry out one step."""
        match name:
            case "MEMOIZE":
                self.keep(len(self.kept))
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.keep(argument)
            case "BINGET" | "LONG_BINGET" | "GET":
                self.stack.append(self.kept[argument])
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "REDUCE":
                self.reduce()
            case "BUILD":
                self.build()
            case "GLOBAL":
                self.name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.name(*self.take(2))
            case "PROTO" | "FRAME":
                pass
            case "POP":
                self.since_mark() if not self.stack else self.stack.pop()
            case "POP_MARK":
                self.since_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "APPEND" | "APPENDS" | "SETITEM" | "SETITEMS" | "ADDITEMS":
                self.grow(name)
            case _:
                made = self.plain(name)  # which may put another stack in place
                self.stack.append(made)

    def plain(self, name: str) -> Any:
        """The plain value that a step makes of what lies on the stack."""
        match name:
            case "NONE":
                return None
            case "NEWTRUE" | "NEWFALSE":
                return name == "NEWTRUE"
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                return self.take(("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3").index(name))
            case "TUPLE":
                return tuple(self.since_mark())
            case "EMPTY_LIST":
                return []
            case "LIST":
                return self.since_mark()
            case "EMPTY_DICT":
                return {}
            case "DICT":
                return _pairs(self.since_mark())
            case "EMPTY_SET":
                return set()
            case "FROZENSET":
                return frozenset(keys(self.since_mark()))
        raise ValueError(
            f"its step {name} builds something else than plain values and arrays; it is refused, and "
            "nothing was run"
        )

    def grow(self, name: str) -> None:
        """Add the uppermost value, or pair, or all since the mark, to the container below."""
        many = name in ("APPENDS", "SETITEMS", "ADDITEMS")
        items = self.since_mark() if many else list(self.take(2 if name == "SETITEM" else 1))
        container = self.stack[-1]
        kind = {"A": list, "S": dict}[name[0]] if name != "ADDITEMS" else set
        if type(container) is not kind:
            raise ValueError(
                f"its step {name} is for a {kind.__name__} and got a {type(container).__name__}"
            )
        if isinstance(container, list):
            container.extend(items)
        else:
            container.update(keys(items) if name == "ADDITEMS" else _pairs(items))

    def keep(self, number: int) -> None:
        """Keep the uppermost value by its number."""
        value = self.stack[-1]
        self.kept[number] = value if number in self.wanted else None
        if isinstance(value, Blank | np.dtype) and number in self.wanted:
            self.unfinished[id(value)] = number

    def build(self) -> None:
        """Complete an array or dtype by its state, also where it was kept before."""
        value, state = self.take(2)
        number = self.unfinished.pop(id(value), None)
        whole = built(value, state)
        if number is not None and self.kept[number] is value:
            self.kept[number] = whole
        self.stack.append(whole)

    def name(self, module: Any, name: Any) -> None:
        """Push a name, which stays a name."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("it names something by what is no text")
        if (module, name) not in BUILDERS and (module, name) not in MARKERS:
            raise ValueError(f"it names {module}.{name}, which is refused; nothing was run")
        self.stack.append(Name(module, name))

    def reduce(self) -> None:
        """Put in place of a name and its arguments what this library's own function for it gives."""
        name, arguments = self.take(2)
        if (
            not isinstance(name, Name)
            or (name.module, name.name) not in BUILDERS
            or not isinstance(arguments, tuple)
        ):
            raise ValueError(
                "it calls something that is no known function; it is refused, and nothing was run"
            )
        self.stack.append(BUILDERS[name.module, name.name](*arguments))

    def since_mark(self) -> list[Any]:
        """All values since the last mark, which goes with them."""
        own, self.stack = self.stack, self.below.pop()
        return own

    def take(self, count: int) -> tuple[Any, ...]:
        """The uppermost values."""
        if len(self.stack) < count:
            raise ValueError("it takes more values than there are")
        own = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return own


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(keys(flat[::2]), flat[1::2], strict=True))
