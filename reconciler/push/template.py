"""The escape hatch: a user's Jinja template for XML that we don't model, rendered in a sandbox.

Whoever may write to the state repository must not thereby read the controller or stall it.  So beside
Jinja's own sandbox the syntax itself is held to what a piece of XML needs: output, `if`, `for` over
short ranges, `set` and a few filters.  Nothing in that language can call a method or grow a string.
"""

from __future__ import annotations

import traceback
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reconciler.errors import RenderError
from reconciler.model.domain import DomainConfig

MAX_SOURCE = 16 << 10
"""Characters of a template."""
MAX_OUTPUT = 256 << 10
"""Characters that a template may produce."""
MAX_RANGE = 256
"""Turns of one loop over ``range``."""
MAX_NESTING = 2
"""Loops inside each other."""

PREFIXES = {
    "qemu": "http://libvirt.org/schemas/domain/qemu/1.0",
    "lxc": "http://libvirt.org/schemas/domain/lxc/1.0",
}
"""Namespace prefixes that a template may use without declaring them."""

_FILTERS = (
    *("abs", "default", "d", "e", "escape", "first", "float", "int", "join", "last", "length", "list"),
    *("lower", "max", "min", "round", "sort", "string", "sum", "trim", "unique", "upper"),
)
_SYNTAX: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.For,
    nodes.If,
    nodes.Assign,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Dict,
    nodes.Pair,
    nodes.Keyword,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Neg,
    nodes.Pos,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Call,
)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, where arithmetic is for numbers: `"a" * 10**9` has no place in a domain."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse anything but numbers of a sane size."""
        for operand in (left, right):
            if not isinstance(operand, int | float) or abs(operand) > 2**64:
                raise SecurityError(f"the operator {operator} is for numbers, not {operand!r:.40}")
        return super().call_binop(context, operator, left, right)


def _bounded_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() of {len(numbers)} numbers; at most {MAX_RANGE} are allowed")
    return numbers


@cache
def _sandbox() -> _Sandbox:
    environment = _Sandbox(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    environment.globals["range"] = _bounded_range
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    return environment


@dataclass(frozen=True, slots=True)
class UserTemplate:
    """A template from the state repository.

    Attributes:
        path: Where it stands, for messages.
        text: Its source.
    """

    path: str
    text: str

    def render(self, config: DomainConfig) -> tuple[ET.Element, ...]:
        """The elements it makes for this machine, which the template sees as ``vm``.

        Raises:
            RenderError: It cannot be rendered; the message names template and line.
        """
        if len(self.text) > MAX_SOURCE:
            raise RenderError(f"{self.path}: the template has more than {MAX_SOURCE} characters")
        return self._elements(self._output({"vm": _plain(config)}))

    def _output(self, context: dict[str, Any]) -> str:
        sandbox = _sandbox()
        try:
            _check_syntax(sandbox.parse(self.text, filename=self.path))
            template = sandbox.from_string(self.text)
            pieces: list[str] = []
            size = 0
            for piece in template.generate(context):
                size += len(piece)
                if size > MAX_OUTPUT:
                    raise SecurityError(f"the template makes more than {MAX_OUTPUT} characters")
                pieces.append(piece)
        except TemplateSyntaxError as error:
            raise RenderError(f"{self.path}:{error.lineno}: {error.message}") from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise RenderError(f"{self.path}:{_line_of(error)}: {error}") from error
        return "".join(pieces)

    def _elements(self, output: str) -> tuple[ET.Element, ...]:
        if "<!" in output.replace("<!--", ""):
            raise RenderError(f"{self.path}: a DOCTYPE, an entity or CDATA has no place in a template")
        declared = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in PREFIXES.items())
        try:
            root = ET.fromstring(f"<domain{declared}>{output}\n</domain>")  # noqa: S314 - no DOCTYPE, see above
        except ET.ParseError as error:
            raise RenderError(f"{self.path}: what the template makes is not well-formed: {error}") from error
        elements = tuple(root)
        if len(elements) == 1 and elements[0].tag == "domain":
            root, elements = elements[0], tuple(elements[0])
        if (root.text or "").strip() or any((element.tail or "").strip() for element in elements):
            raise RenderError(f"{self.path}: there is text outside of the elements")
        return elements


def _plain(config: DomainConfig) -> dict[str, Any]:
    """The machine as dicts and lists: no object of ours can be reached from a template."""
    plain = asdict(config)
    for part in ("disks", "interfaces"):
        plain[part] = list(plain[part] or ())
    return plain


def _check_syntax(node: nodes.Node, loops: int = 0) -> None:
    if not isinstance(node, _SYNTAX):
        word = type(node).__name__
        raise TemplateSyntaxError(f"{word} is not allowed in an XML template", node.lineno)
    if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name == "range"):
        raise TemplateSyntaxError("only range() may be called in an XML template", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        if node.recursive or loops > MAX_NESTING:
            raise TemplateSyntaxError(f"loops may be nested {MAX_NESTING} deep", node.lineno)
    for child in node.iter_child_nodes():
        _check_syntax(child, loops)


def _line_of(error: BaseException) -> int:
    """Line of the template in which an error arose; Jinja puts it into the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename in ("<template>", "<unknown>")]
    return lines[-1] or 0 if lines else 0
