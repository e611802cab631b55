"""Pickle files of arrays, read without unpickling: nothing is imported or called.

miniImageNet, tieredImageNet and others are distributed as pickles, and `pickle.load` runs whatever
code a file contains. An `Unpickler` with a restricted `find_class` is not enough: it still lets a
file build huge objects and crash the interpreter by deep nesting. So this module interprets the
opcodes itself, for plain values and arrays only.
"""

from __future__ import annotations

import dataclasses
import mmap
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from graphfew.data.io.safe_pickle_arrays import (
    ARGUMENT_NAMES,
    BUILDERS,
    GlobalName,
    PendingArray,
    check_keys,
    set_state,
)
from graphfew.errors import DatasetError

_CONSTANT_OPCODES = frozenset(
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
_GET_OPCODES = frozenset(("BINGET", "LONG_BINGET", "GET"))
_TUPLE_OPCODES = ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
# What a damaged or hostile file may raise while it is interpreted.
_READ_ERRORS = (
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
    """Read a pickle file of plain values and arrays (protocols 0 to 5, Python 2 or 3).

    Plain values are dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, bool and
    None. numpy arrays, scalars and dtypes without fields are supported as well. Python 2 strings
    become str, one character per byte.

    Args:
        path: the pickle file.

    Returns:
        The content. Most arrays are read-only views of the file's bytes.

    Raises:
        FileNotFoundError: no such file.
        DatasetError: the file is damaged, is not a pickle, or refers to anything else. Nothing was
            executed.

    Example:
        >>> import pickle, tempfile
        >>> path = Path(tempfile.mkdtemp(), "example.pkl")
        >>> _ = path.write_bytes(pickle.dumps({"x": np.arange(3)}))
        >>> read_pickle(path)
        {'x': array([0, 1, 2])}
    """
    with path.open("rb") as file:
        try:
            # Mapped into memory: the opcodes copy their arguments, so a second copy would be waste.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _interpret(content)
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{path} has text that its protocol cannot hold ({error.reason}); write it again "
                "with protocol 2 or later"
            ) from error
        except _READ_ERRORS as error:
            # pickletools raises plain ValueErrors with an explanation; subclasses have none.
            is_explained = isinstance(error, DatasetError) or type(error) is ValueError
            reason = str(error) if is_explained else f"damaged: {type(error).__name__} {error}"
            raise DatasetError(
                f"{path} cannot be read as a pickle of arrays ({reason}); get it again, or write "
                "it again with plain values and numpy arrays only"
            ) from error


def _interpret(content: Any) -> Any:
    # A first pass finds the memo entries that are read later. All others, among them the pixels of
    # every image, need not be stored, which halves the memory.
    read_entries = {
        argument
        for opcode, argument, _ in pickletools.genops(content)
        if opcode.name in _GET_OPCODES
    }
    machine = _PickleMachine(read_entries)
    content.seek(0)
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _CONSTANT_OPCODES:
            machine.stack.append(argument)
        elif opcode.name != "STOP":
            machine.run(opcode.name, argument)
    if len(machine.stack) != 1 or machine.outer_stacks:
        raise DatasetError(f"it ends with {len(machine.stack)} values; expected one")
    return machine.stack[0]


@dataclasses.dataclass
class _PickleMachine:
    """The state of the pickle interpreter.

    Attributes:
        read_entries: memo entries that the file reads; the others are not stored.
        stack: values since the last mark.
        outer_stacks: the stacks below earlier marks.
        memo: stored values by entry.
        pending: by identity of an array or dtype whose state has not been read yet, its memo entry.
    """

    read_entries: set[Any]
    stack: list[Any] = dataclasses.field(default_factory=list)
    outer_stacks: list[list[Any]] = dataclasses.field(default_factory=list)
    memo: dict[int, Any] = dataclasses.field(default_factory=dict)
    pending: dict[int, int] = dataclasses.field(default_factory=dict)

    def run(self, name: str, argument: Any) -> None:
        """Execute one opcode."""
        match name:
            case "MEMOIZE":
                # MEMOIZE has no argument: its entry is the number of entries so far.
                self.store(len(self.memo))
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.store(argument)
            case "BINGET" | "LONG_BINGET" | "GET":
                self.stack.append(self.memo[argument])
            case "MARK":
                self.outer_stacks.append(self.stack)
                self.stack = []
            case "REDUCE":
                self.call()
            case "BUILD":
                self.complete()
            case "GLOBAL":
                # pickletools joins module and name by a blank.
                self.push_name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.push_name(*self.pop(2))
            # Frames only help to read from a stream, and every protocol is accepted.
            case "PROTO" | "FRAME":
                pass
            case "POP":
                # As in `pickle`, POP on an empty stack removes the mark.
                if self.stack:
                    self.stack.pop()
                else:
                    self.pop_to_mark()
            case "POP_MARK":
                self.pop_to_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "APPEND" | "APPENDS" | "SETITEM" | "SETITEMS" | "ADDITEMS":
                self.extend(name)
            case _:
                # Built first: `pop_to_mark` replaces `self.stack`.
                value = self.build(name)
                self.stack.append(value)

    def build(self, name: str) -> Any:
        """Build the plain value of an opcode from the stack."""
        match name:
            case "NONE":
                return None
            case "NEWTRUE" | "NEWFALSE":
                return name == "NEWTRUE"
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                return self.pop(_TUPLE_OPCODES.index(name))
            case "TUPLE":
                return tuple(self.pop_to_mark())
            case "EMPTY_LIST":
                return []
            case "LIST":
                return self.pop_to_mark()
            case "EMPTY_DICT":
                return {}
            case "DICT":
                return _to_dict(self.pop_to_mark())
            case "EMPTY_SET":
                return set()
            case "FROZENSET":
                return frozenset(check_keys(self.pop_to_mark()))
        raise DatasetError(
            f"its opcode {name} builds something other than plain values and arrays, which is "
            "refused; nothing was run"
        )

    def extend(self, name: str) -> None:
        """Add the top value, the top pair, or all values since the mark, to the container below."""
        if name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            items = self.pop_to_mark()
        else:
            items = list(self.pop(2 if name == "SETITEM" else 1))
        container: Any = self.stack[-1]
        expected: type = set if name == "ADDITEMS" else {"A": list, "S": dict}[name[0]]
        container_type = type(container)
        if container_type is not expected:
            raise DatasetError(
                f"its opcode {name} needs a {expected.__name__} and got a {container_type.__name__}"
            )
        if expected is list:
            container.extend(items)
        elif expected is set:
            container.update(check_keys(items))
        else:
            container.update(_to_dict(items))

    def store(self, entry: int) -> None:
        """Store the top value in the memo."""
        value = self.stack[-1]
        # Entries that are never read are None, so that MEMOIZE still counts them.
        self.memo[entry] = value if entry in self.read_entries else None
        # BUILD replaces the placeholder by another object, also where the memo refers to it.
        if isinstance(value, PendingArray | np.dtype) and entry in self.read_entries:
            self.pending[id(value)] = entry

    def complete(self) -> None:
        """Set the state of an array or dtype, also in the memo if it was stored before."""
        value, state = self.pop(2)
        entry = self.pending.pop(id(value), None)
        completed = set_state(value, state)
        # A later opcode may have overwritten the entry.
        if entry is not None and self.memo[entry] is value:
            self.memo[entry] = completed
        self.stack.append(completed)

    def push_name(self, module: Any, name: Any) -> None:
        """Push a name as a `GlobalName`, without import."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise DatasetError("it refers to a name that is not text")
        if (module, name) not in BUILDERS and (module, name) not in ARGUMENT_NAMES:
            raise DatasetError(f"it refers to {module}.{name}, which is refused; nothing was run")
        self.stack.append(GlobalName(module, name))

    def call(self) -> None:
        """Replace a name and its arguments by the result of the builder for that name."""
        name, arguments = self.pop(2)
        is_known = isinstance(name, GlobalName) and (name.module, name.name) in BUILDERS
        if not is_known or not isinstance(arguments, tuple):
            raise DatasetError("it calls an unknown function, which is refused; nothing was run")
        builder = BUILDERS[name.module, name.name]
        self.stack.append(builder(*arguments))

    def pop_to_mark(self) -> list[Any]:
        """Remove the last mark, and return all values above it."""
        values = self.stack
        self.stack = self.outer_stacks.pop()
        return values

    def pop(self, count: int) -> tuple[Any, ...]:
        """Remove and return the top values."""
        if len(self.stack) < count:
            raise DatasetError("it takes more values than the stack has")
        start = len(self.stack) - count
        values = tuple(self.stack[start:])
        del self.stack[start:]
        return values


def _to_dict(keys_and_values: list[Any]) -> dict[Any, Any]:
    keys = check_keys(keys_and_values[::2])
    return dict(zip(keys, keys_and_values[1::2], strict=True))
