"""Digests of Python values: two values with one digest behave alike, in this process or another.

A function of a notebook, or of a module of the reader's own, is hashed by its compiled code (so
comments and layout do not count) and, in turn, by the values that it takes from its surroundings:
constants, tensors, other functions. A function of this package is hashed by the source of all
modules it reaches; one of an installed package by its name and the package's version. What need
not be understood is refused by name, above all a module of the reader's own, of which functions
can be imported instead, and an import within a function.

Why not joblib.hash, dill, or the Hasher of Hugging Face's datasets? They go by pickle, which takes
a function of a module by its name, so that an edited helper gives a stale result, and whose bytes
differ between processes where the same values are shared otherwise.
"""

import dis
import hashlib
import platform
import sys
import types
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from dl4cv.provenance import sources

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...))


class Hasher:
    """Hashes values one after another, and notices where they share an object.

    Sharing counts: a model whose two layers hold one weight differs from a model with two equal
    weights, and an optimizer that holds a model's parameters from one that holds copies.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}
        self._hash = hashlib.sha256()
        self._path: list[str] = []

    def digest(self, value: Any, name: str = "the value") -> str:
        """Return the SHA-256 of ``value``.

        Args:
            value: plain values, containers, tensors, functions, classes, and objects made of
                nothing but attributes that are such: modules, optimizers, dataclasses.
            name: what an error calls it.

        Raises:
            TypeError: if a part cannot be hashed; the message names its type and says how it was
                reached.
        """
        self._hash = hashlib.sha256()
        self._path = [name]
        self._add(value)
        return self._hash.hexdigest()

    def _say(self, *words: object) -> None:
        for word in words:
            content = word if isinstance(word, bytes | memoryview) else str(word).encode()
            self._hash.update(b"%d:" % len(content))
            self._hash.update(content)

    def _each(self, kind: str, items: Iterable[Any]) -> None:
        items = list(items)
        self._say(kind, len(items))
        for item in items:
            self._add(item)

    def _pairs(self, kind: str, items: Iterable[tuple[Any, Any]]) -> None:
        items = list(items)
        self._say(kind, len(items))
        for name, value in items:
            self._add(name)
            self._path.append(name if isinstance(name, str) else type(name).__qualname__)
            self._add(value)
            self._path.pop()

    def _refusal(self, what: str, instead: str) -> TypeError:
        return TypeError(f"{' → '.join(self._path)} {what}, which cannot be hashed; {instead}")

    def _add(self, value: Any) -> None:
        kind = type(value)
        if kind in _PLAIN or (kind.__module__, kind.__name__) == ("torch", "dtype"):
            self._say(kind.__name__, repr(value))
        # The compiler decides which constants are one object, so for these it cannot count.
        elif kind is types.CodeType:
            self._add_code(value)
        elif kind is tuple:
            self._each("tuple", value)
        elif kind is frozenset:
            self._say("frozenset", *sorted(Hasher().digest(item) for item in value))
        elif id(value) in self._seen:
            self._say("again", self._seen[id(value)][0])
        else:
            # The value is kept too: a freed object's id may come back as another object's.
            self._seen[id(value)] = (len(self._seen), value)
            self._add_object(value)

    def _add_object(self, value: Any) -> None:
        torch = sys.modules.get("torch")  # the build imports this module, and never PyTorch
        if torch is not None and isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            self._say("tensor", value.dtype, tuple(value.shape), value.requires_grad)
            self._say(memoryview(flat.view(torch.uint8).numpy()))
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, types.BuiltinFunctionType):
            owner = None if isinstance(value.__self__, types.ModuleType) else value.__self__
            self._each("builtin", (value.__module__, value.__qualname__, owner))
        elif isinstance(value, types.ModuleType):
            if (installed := _installed(value.__name__)) is None:
                raise self._refusal("is a module", "import what you use of it by name")
            self._say("module", *installed)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, property):
            self._each("property", (value.fget, value.fset, value.fdel))
        elif isinstance(value, staticmethod | classmethod | types.MethodType):
            bound_to = getattr(value, "__self__", None)
            self._each("method", (type(value), value.__func__, bound_to))
        elif isinstance(value, set):
            self._each("set", [frozenset(value)])
        else:
            self._add_instance(value)

    def _add_instance(self, value: Any) -> None:
        """Add an object by what pickle makes its copy of: its class, arguments, state and items."""
        refusal = self._refusal(
            f"is a {type(value).__qualname__}",
            "pass it as plain values or tensors, or as functions, modules and dataclasses of these",
        )
        try:
            maker, arguments, *rest = value.__reduce_ex__(4)
        except Exception:
            raise refusal from None
        # A function that makes it may only look it up by its name, as logging.getLogger does.
        if not isinstance(maker, type) and getattr(maker, "__name__", "") != "__newobj__":
            raise refusal
        state, entries, items = (*rest, None, None, None)[:3]
        self._each("object", (maker, *arguments))
        self._pairs("state", state.items() if isinstance(state, dict) else [("state", state)])
        self._each("entries", entries or ())
        self._pairs("items", items or ())

    def _add_function(self, function: types.FunctionType) -> None:
        code, surroundings = function.__code__, function.__globals__
        installed = _installed(function.__module__)
        if installed is None:
            self._add_code(code, function.__doc__)
            names = sorted(self._outer_names(code) & surroundings.keys())
            self._pairs("globals", [(name, surroundings[name]) for name in names])
        else:
            self._say("function", function.__qualname__, *installed)
        # The closures of this package's and of others' factories count, as a cosine schedule's.
        if installed is None or "<locals>" in function.__qualname__:
            self._each("defaults", (function.__defaults__, function.__kwdefaults__))
            cells = [cell.cell_contents for cell in function.__closure__ or ()]
            self._pairs("closure", zip(code.co_freevars, cells, strict=True))

    def _add_code(self, code: types.CodeType, docstring: str | None = None) -> None:
        constants = code.co_consts
        if docstring is not None and constants[:1] == (docstring,):
            constants = (None, *constants[1:])
        self._say("code", code.co_code, code.co_exceptiontable, code.co_flags)
        self._say(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self._say(code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
        self._each("constants", constants)

    def _outer_names(self, code: types.CodeType) -> set[str]:
        """Return the names that ``code`` looks up outside itself; refuse what it imports."""
        names: set[str] = set()
        for each in dis.get_instructions(code):
            if each.opname == "IMPORT_NAME":
                raise self._refusal(f"imports {each.argval}", "import it outside the function")
            if each.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                names.add(each.argval)
        within = (const for const in code.co_consts if isinstance(const, types.CodeType))
        return names.union(*map(self._outer_names, within))

    def _add_class(self, cls: type) -> None:
        installed = _installed(cls.__module__)
        self._say("class", cls.__qualname__, *(installed or ()))
        if installed is None:
            self._each("bases", (*cls.__bases__, type(cls)))
            # Data with dunder names only describes, as annotations do.
            members = [
                (name, member)
                for name, member in sorted(vars(cls).items())
                if not name.startswith("__") or callable(member) or isinstance(member, classmethod)
            ]
            self._pairs("members", members)


def _installed(module: str | None) -> tuple[object, ...] | None:
    """Return what stands for the code of a module, or None if it is a notebook or the reader's."""
    module = module or "builtins"
    top = module.partition(".")[0]
    if top == "dl4cv":
        return module, *sources.running([module]).items()
    if top in sys.stdlib_module_names:
        return module, platform.python_version()
    package = sys.modules.get(top)
    folders = Path(getattr(package, "__file__", None) or "").parts
    if top == "__main__" or not {"site-packages", "dist-packages"} & set(folders):
        return None
    return module, getattr(package, "__version__", None) or metadata.version(top)
