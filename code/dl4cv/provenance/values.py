"""Digests of Python values: two values with one digest behave alike, in this process or another.

A function defined in a notebook, or in a module of the reader's own, is hashed by its compiled
code (so comments and layout do not count) and, in turn, by the values that it takes from its
surroundings: constants, tensors, other functions, the modules that it imports. A function of this
package is hashed by the source of all modules it reaches; one of an installed package by its name
and the package's version. What is looked up by a computed name (``importlib.import_module``) is
not seen; what need not be understood is refused.

Why not joblib.hash, dill, or the Hasher of Hugging Face's datasets? They go by pickle, which takes
a function of a module by its name, so that an edited helper gives a stale result, and whose bytes
differ between processes where the same values are shared otherwise.
"""

import dis
import enum
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
import uuid
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from dl4cv.provenance import sources

_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, slice, type(...))
_TORCH_ATOMS = ("device", "dtype", "layout", "memory_format")
#: Python's and other packages' compiled code, for which its name stands.
_NAMED = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)
#: What wraps functions, and the attributes that hold these.
_WRAPPERS = (
    *(property, staticmethod, classmethod, functools.cached_property, functools.partial),
    *(types.MethodType, type(functools.cache(len))),
)
_WRAPPED = (
    *("fget", "fset", "fdel", "func", "args", "keywords"),
    *("__func__", "__self__", "__wrapped__"),
)
_LIBRARY = Path(sysconfig.get_path("stdlib"))

#: The package's sources when this process began. A file that was edited since may or may not be
#: what the process runs, so then its digest is one that no other process will ever have.
_AT_START = sources.all_modules()
_UNSURE = f" edited while process {uuid.uuid4()} ran"


class Hasher:
    """Hashes values one after another, and notices where they share an object.

    Sharing counts: a model whose two layers hold one weight differs from a model with two equal
    weights, and an optimizer that holds a model's parameters from one that holds copies.
    """

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: dict[int, tuple[int, Any]] = {}
        self._hash = hashlib.sha256()
        self._path: list[str] = []

    def digest(self, value: Any, name: str = "the value") -> str:
        """Return the SHA-256 of ``value``.

        Args:
            value: plain values, containers, tensors, arrays, functions, classes, and objects made
                of nothing but attributes that are such: modules, optimizers, dataclasses.
            name: what an error calls it.

        Raises:
            TypeError: if a part cannot be hashed; the message says how it was reached.
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

    def _add(self, value: Any) -> None:
        kind = type(value)
        if kind in _ATOMS or (kind.__module__ == "torch" and kind.__name__ in _TORCH_ATOMS):
            return self._say(kind.__name__, repr(value))
        if isinstance(value, PurePath):
            return self._say("path", value)
        # The compiler decides which constants are one object, so for these it cannot count.
        if kind is types.CodeType:
            return self._add_code(value)
        if kind is tuple:
            return self._each("tuple", value)
        if kind is frozenset:
            return self._say("frozenset", *sorted(Hasher().digest(item) for item in value))
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
        elif torch is not None and isinstance(value, torch.Generator):
            self._each("generator", (value.device, value.get_state()))
        elif numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
            if value.dtype.hasobject:
                raise self._refusal(value)
            self._say("array", value.dtype.str, value.shape, value.tobytes())
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, types.ModuleType):
            self._add_module(value)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, _WRAPPERS):
            held = [getattr(value, name, None) for name in _WRAPPED]
            self._each("wrapper", [type(value), *held])
        elif isinstance(value, _NAMED):
            owner = getattr(value, "__self__", None)
            self._say("named", getattr(value, "__module__", None), value.__qualname__)
            self._add(None if isinstance(owner, types.ModuleType) else owner)
        elif isinstance(value, enum.Enum):
            self._each("enum", (type(value), value.name))
        elif isinstance(value, list | tuple | dict | set):
            self._pairs("container", [(type(value), getattr(value, "__dict__", None))])
            if isinstance(value, dict):
                self._pairs("items", value.items())
            else:
                self._add(frozenset(value) if isinstance(value, set) else tuple(value))
        else:
            self._add_instance(value)

    def _add_instance(self, value: Any) -> None:
        """Add an object by its class and attributes, if these are all that it consists of."""
        try:
            maker, arguments, state, *_ = value.__reduce_ex__(4)
        except Exception:
            raise self._refusal(value) from None
        if getattr(maker, "__name__", "") != "__newobj__":
            raise self._refusal(value)
        self._each("instance", arguments)
        self._pairs("state", state.items() if isinstance(state, dict) else [("state", state)])

    def _refusal(self, value: Any) -> TypeError:
        return TypeError(
            f"{' → '.join(self._path)} is a {type(value).__qualname__}, which cannot be hashed; "
            "pass it as plain values, tensors or arrays, or as functions, modules and dataclasses "
            "made of these"
        )

    def _add_function(self, function: types.FunctionType) -> None:
        code, surroundings = function.__code__, function.__globals__
        own = _is_readers(function.__module__, code.co_filename)
        if own:
            self._add_code(code, function.__doc__)
            names = sorted(_global_names(code) & surroundings.keys())
            self._pairs("globals", [(name, surroundings[name]) for name in names])
            self._each("imports", _imported(code, surroundings.get("__package__") or ""))
        else:
            self._say("function", function.__qualname__)
            self._add_name(function.__module__)
        # The closures of this package's and of others' factories count, as a cosine schedule's.
        if own or "<locals>" in function.__qualname__:
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

    def _add_class(self, cls: type) -> None:
        self._say("class", cls.__qualname__)
        if not _is_readers(cls.__module__):
            return self._add_name(cls.__module__)
        self._each("bases", (*cls.__bases__, type(cls)))
        members = {name: vars(cls)[name] for name in sorted(vars(cls))}
        return self._pairs("members", [pair for pair in members.items() if _counts(*pair)])

    def _add_module(self, module: types.ModuleType) -> None:
        """Add a module of the reader's own with its source and all that it holds.

        The source stands for what it holds that cannot be hashed; the rest shows what was loaded,
        if the source was edited since.
        """
        if not _is_readers(module.__name__):
            return self._add_name(module.__name__)
        file = getattr(module, "__file__", None)
        self._say("module", module.__name__, Path(file).read_bytes() if file else "")
        depth = len(self._path)
        for name in sorted(vars(module)):
            try:
                if not name.startswith("__"):
                    self._pairs("member", [(name, vars(module)[name])])
            except TypeError:
                del self._path[depth:]
        return None

    def _add_name(self, module: str | None) -> None:
        """Add what stands for code of this package, or of an installed one."""
        top = (module or "builtins").partition(".")[0]
        if module and top == "dl4cv":
            self._say("sources", module, *running([module]).items())
        else:
            self._say("installed", module, _version(top))


def running(names: Iterable[str]) -> dict[str, str]:
    """Return the digests of the modules that ``names`` reach, as this process runs them."""
    reached = sources.modules_reached(names, parents=False)
    return {
        name: digest if _AT_START.get(name) == digest else digest + _UNSURE
        for name, digest in reached.items()
    }


def _is_readers(module: str | None, file: str | None = None) -> bool:
    """Return whether code is a notebook's or a module's of the reader, not an installed one's."""
    module = module or "builtins"
    if module == "__main__" or module.partition(".")[0] == "dl4cv":
        return module == "__main__"
    path = Path(getattr(sys.modules.get(module), "__file__", None) or file or "")
    if not path.is_file():
        return module not in sys.modules
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and not path.is_relative_to(_LIBRARY)


@functools.cache
def _version(top: str) -> str:
    """Return the version of the distribution that holds the package ``top``, else Python's."""
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        version = getattr(sys.modules.get(top), "__version__", None)
        return str(version or sys.version_info[:3])


def _counts(name: str, member: Any) -> bool:
    """Return whether a class's entry does something; data with dunder names only describes."""
    if name in ("_abc_impl", "__annotate__", "__annotate_func__"):
        return False
    return not name.startswith("__") or callable(member) or isinstance(member, classmethod)


def _instructions(code: types.CodeType) -> Iterator[dis.Instruction]:
    """Yield the instructions of ``code`` and of the functions within it."""
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _instructions(constant)


def _global_names(code: types.CodeType) -> set[str]:
    """Return the names that ``code`` looks up outside itself."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    return {each.argval for each in _instructions(code) if each.opname in loads}


def _imported(code: types.CodeType, package: str) -> Iterator[Any]:
    """Yield the modules that ``code`` imports when it runs; of a missing one, its name."""
    level, names = 0, None
    for each in _instructions(code):
        if each.opname == "IMPORT_NAME":
            base = importlib.util.resolve_name("." * (level or 0) + each.argval, package)
            for name in (base, *(f"{base}.{name}" for name in names or ())):
                try:
                    yield importlib.import_module(name)
                except ImportError:
                    yield name
        level, names = names, each.argval
