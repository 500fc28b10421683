"""Digests of Python values: two values with one digest behave alike.

A function defined in a notebook is digested by its compiled code (so comments and layout do not
count) and, in turn, by the values that it takes from its surroundings: constants, tensors, other
functions. A function of this package is digested by the source of all modules it reaches; one of
an installed package by its name and the package's version.
"""

import dis
import functools
import hashlib
import sys
import sysconfig
import types
import uuid
import weakref
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from dl4cv.provenance import sources

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))
_NAMED = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)
#: Entries of a class that say where it stands or how it is typed, not what it does.
_SILENT = {
    "__dict__",
    "__weakref__",
    "__doc__",
    "__module__",
    "__annotations__",
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__orig_bases__",
    "__parameters__",
    "__firstlineno__",
    "__static_attributes__",
    "_abc_impl",
}
_LIBRARY = Path(sysconfig.get_path("stdlib"))

#: The package's sources when this process began. A file that was edited since may or may not be
#: what the process runs, so then its digest is one that no other process will ever have.
_AT_START = sources.all_modules()
_UNSURE = f" edited while process {uuid.uuid4()} ran"


def of_callable(function: Callable) -> str:
    """Return the SHA-256 of a function, class, method or partial and of all that it uses.

    Raises:
        TypeError: if it uses something whose content cannot be told, such as an open file.
    """
    return Walk().digest(function)


class Walk:
    """Digests values one after another, and notices where they share an object.

    Sharing counts: a model whose two layers hold one weight differs from a model with two equal
    weights, and an optimizer that holds a model's parameters from one that holds copies.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: dict[int, tuple[int, Any]] = {}
        self._hash = hashlib.sha256()
        self._path: list[str] = []

    def digest(self, value: Any, name: str = "") -> str:
        """Return the SHA-256 of ``value``.

        Args:
            value: anything made of Python's own types, tensors, arrays, functions, and objects
                that can be pickled or whose attributes can.
            name: what an error calls it.

        Raises:
            TypeError: if a part's content cannot be told; the message says how it was reached.
        """
        self._hash = hashlib.sha256()
        self._path = [name] if name else []
        self._add(value)
        return self._hash.hexdigest()

    def _say(self, *words: object) -> None:
        for word in words:
            content = word if isinstance(word, bytes | memoryview) else str(word).encode()
            self._hash.update(b"%d:" % len(content))
            self._hash.update(content)

    def _within(self, name: str, value: Any) -> None:
        self._path.append(name)
        self._say(name)
        self._add(value)
        self._path.pop()

    def _each(self, kind: str, items: Iterable[Any]) -> None:
        items = list(items)
        self._say(kind, len(items))
        for item in items:
            self._add(item)

    def _add(self, value: Any) -> None:
        if isinstance(value, _ATOMS) and type(value) in _ATOMS:
            return self._say(type(value).__name__, repr(value))
        if type(value) is tuple:
            return self._each("tuple", value)
        if isinstance(value, set | frozenset):
            return self._say("set", *sorted(Walk().digest(item) for item in value))
        if isinstance(value, types.CodeType):
            return self._add_code(value)
        if isinstance(value, types.ModuleType):
            return self._add_named_module(value.__name__)
        if id(value) in self._seen:
            return self._say("again", self._seen[id(value)][0])
        # The value is kept too: a freed object's id may come back as another object's.
        self._seen[id(value)] = (len(self._seen), value)
        return self._add_object(value)

    def _add_object(self, value: Any) -> None:
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch is not None and isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().flatten()
            self._say("tensor", value.dtype, tuple(value.shape), value.requires_grad)
            self._say(memoryview(flat.view(torch.uint8).numpy()))
        elif numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
            self._say("array", value.dtype.str, value.shape, value.tobytes())
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.MethodType):
            self._each("method", (value.__func__, value.__self__))
        elif isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            self._say("builtin", value.__module__, value.__qualname__)
            if owner is not None and not isinstance(owner, types.ModuleType):
                self._add(owner)
        elif isinstance(value, _NAMED):
            self._say("named", value.__qualname__)
        elif isinstance(value, functools.partial):
            self._each("partial", (value.func, value.args, value.keywords))
        elif isinstance(value, property):
            self._each("property", (value.fget, value.fset, value.fdel))
        elif isinstance(value, staticmethod | classmethod):
            self._each(type(value).__name__, [value.__func__])
        elif isinstance(value, functools.cached_property):
            self._each("cached property", [value.func])
        elif isinstance(value, weakref.ref):
            self._each("weak", [value()])
        elif type(value) is list:
            self._each("list", value)
        elif type(value) in (dict, types.MappingProxyType):
            self._add_items("dict", value.items())
        else:
            self._add_instance(value)

    def _add_items(self, kind: str, items: Iterable[tuple[Any, Any]]) -> None:
        items = list(items)
        self._say(kind, len(items))
        for key, item in items:
            if isinstance(key, str):
                self._within(key, item)
            else:
                self._each("item", (key, item))

    def _add_instance(self, value: Any) -> None:
        """Add an object by what pickle would need to make it again."""
        try:
            made = value.__reduce_ex__(4)
        except Exception as error:
            path = " → ".join(self._path) or "the value"
            raise TypeError(
                f"{path} is a {type(value).__qualname__}, whose content cannot be told ({error}); "
                "expected functions, tensors, and objects made of these and of plain values"
            ) from None
        if isinstance(made, str):
            return self._say("global", type(value).__module__, made)
        maker, arguments, state, items, pairs = (*made, None, None, None)[:5]
        self._say("instance")
        self._add(type(value))
        self._each("made by", (maker, arguments, state))
        self._each("items", items or ())
        return self._add_items("pairs", pairs or ())

    def _add_function(self, function: types.FunctionType) -> None:
        # The closures of this package's and of others' factories, such as a cosine schedule's.
        local = "<locals>" in function.__qualname__
        where = _origin(function.__module__, function.__code__.co_filename)
        if where != "here":
            self._say("function", function.__module__, function.__qualname__)
            self._add_named_module(function.__module__)
        else:
            self._say("function")
            self._add_code(function.__code__, function.__doc__)
            for name in sorted(_global_names(function.__code__)):
                if name in function.__globals__:
                    self._within(name, function.__globals__[name])
                else:
                    self._say("builtin or missing", name)
        if local or where == "here":
            self._each("defaults", (function.__defaults__, function.__kwdefaults__))
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            for name, cell in cells:
                try:
                    content = cell.cell_contents
                except ValueError:
                    self._say("empty", name)
                else:
                    self._within(name, content)

    def _add_code(self, code: types.CodeType, docstring: str | None = None) -> None:
        constants = code.co_consts
        if docstring is not None and constants[:1] == (docstring,):
            constants = (None, *constants[1:])
        self._say("code", code.co_code, code.co_exceptiontable, code.co_flags)
        self._say(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self._say(code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
        self._each("constants", constants)

    def _add_class(self, cls: type) -> None:
        self._say("class", cls.__qualname__)
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if _origin(cls.__module__, file) != "here":
            return self._add_named_module(cls.__module__)
        self._each("bases", (*cls.__bases__, type(cls)))
        return self._add_items("members", sorted(_members(cls)))

    def _add_named_module(self, name: str | None) -> None:
        name = name or "builtins"
        file = getattr(sys.modules.get(name), "__file__", None)
        match _origin(name, file):
            case "package":
                self._say(name)
                self._add_sources([name])
            case "installed":
                self._say(name, _version(name.partition(".")[0]))
            case _:
                text = Path(file).read_text("utf-8") if file else ""
                self._say(name, text)
                self._add_sources(sources.imports(text))

    def _add_sources(self, names: Iterable[str]) -> None:
        self._say("sources", *running(names).items())


def running(names: Iterable[str]) -> dict[str, str]:
    """Return the digests of the modules that ``names`` reach, as this process runs them."""
    reached = sources.modules_reached(names, parents=False)
    return {
        name: digest if _AT_START.get(name) == digest else digest + _UNSURE
        for name, digest in reached.items()
    }


def _members(cls: type) -> list[tuple[str, Any]]:
    return [(name, member) for name, member in vars(cls).items() if name not in _SILENT]


def _origin(module: str | None, file: str | None) -> str:
    """Return whose code it is: this ``package``'s, ``installed``, or ``here`` (a notebook's)."""
    module = module or "builtins"
    if module.partition(".")[0] == "dl4cv":
        return "package"
    if module == "__main__":
        return "here"
    loaded = getattr(sys.modules.get(module), "__file__", None) or file
    if loaded is None or not Path(loaded).is_file():
        return "installed" if module in sys.modules else "here"
    path = Path(loaded)
    foreign = {"site-packages", "dist-packages"} & set(path.parts)
    return "installed" if foreign or path.is_relative_to(_LIBRARY) else "here"


@functools.cache
def _version(top: str) -> str:
    """Return the version of the distribution that holds the package ``top``, else Python's."""
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        version = getattr(sys.modules.get(top), "__version__", None)
        return str(version or sys.version_info[:3])


def _global_names(code: types.CodeType) -> set[str]:
    """Return the names that ``code`` and the functions within it look up outside themselves."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname.startswith("LOAD_")
        and ("GLOBAL" in instruction.opname or "NAME" in instruction.opname)
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return names.union(*map(_global_names, inner))
