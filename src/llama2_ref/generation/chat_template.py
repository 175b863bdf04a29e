"""Chat templates: programs in Jinja, written by the makers of models, which turn messages into the text of a prompt.

They come with files from anywhere. So they run in Jinja's sandbox, and are stopped when they take too many steps, too
long, or make too much.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from time import monotonic
from typing import Any

from ..errors import PromptError, TokenizerError
from ..support.extras import import_extra

STEPS = 10**6  # of loops and macros together
SECONDS = 10.0
LARGEST_TEXT = 2**22  # characters
LARGEST_NUMBER = 10**6  # as an argument, such as the width of a text
LARGEST_SOURCE = 2**20  # characters
TOOLS = {"tools": None, "documents": None}  # what some templates look for


class _LimitError(Exception):
    """A template takes too much."""


def render_template(source: str, messages: Sequence[Mapping[str, str]], bos: str, eos: str) -> str:
    """The prompt for the model's answer to messages, by a template in Jinja; `bos` and `eos` are names of tokens.

    Raises PromptError if the template refuses the messages, TokenizerError if it is damaged, does what it must not do,
    or takes too long, and MissingExtraError without jinja2.
    """
    template = compile_template(source)
    names = {"bos_token": bos, "eos_token": eos, "add_generation_prompt": True, **TOOLS}
    try:
        return template.render(messages=[dict(message) for message in messages], **names)
    except template.Refusal as refusal:
        raise PromptError(f"the model's chat template refuses this conversation ({_one_line(refusal)})") from None
    except (Exception, RecursionError) as error:
        raise TokenizerError(f"the model's chat template can't be used ({_one_line(error)})") from None


@functools.lru_cache(maxsize=8)
def compile_template(source: str) -> "Template":
    """A template that can be rendered. Raises what `render_template` raises, but no PromptError."""
    jinja2 = import_extra("jinja2", "this model's chat template")
    if len(source) > LARGEST_SOURCE:
        rule = f"a chat template must have at most {LARGEST_SOURCE:,} characters"
        raise TokenizerError(f"{rule} (got {len(source):,})")
    try:
        return Template(source)
    except jinja2.TemplateSyntaxError as error:
        raise TokenizerError(
            f"the model's chat template must be Jinja (line {error.lineno}: {_one_line(error)})"
        ) from None
    except Exception as error:  # what Python makes of blocks that are nested too deeply, for one
        raise TokenizerError(f"the model's chat template can't be used ({_one_line(error)})") from None


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."


class Template:
    """One template, and what it may use."""

    def __init__(self, source: str) -> None:
        jinja2 = import_extra("jinja2", "this model's chat template")

        class Refusal(jinja2.TemplateError):  # type: ignore[misc, name-defined]
            """What a template raises on purpose."""

        self.Refusal = Refusal
        self._budget, self._lock = _Budget(), Lock()
        environment = _environment(self._budget, Refusal)
        tree = _guarded(environment.parse(source), environment)
        code = environment.compile(tree)
        self._template = jinja2.Template.from_code(environment, code, environment.make_globals(None))

    def render(self, **names: Any) -> str:
        """The text. Raises what the template does."""
        parts: list[str] = []
        size = 0
        with self._lock:
            self._budget.begin()
            for part in self._template.generate(**names):
                size += len(part)
                if size > LARGEST_TEXT:
                    raise _LimitError(f"it makes more than {LARGEST_TEXT:,} characters")
                parts.append(part)
        return "".join(parts)


# -------------------------------------------------------------------------------------------------------------- sandbox


class _Budget:
    """What a template may still take, and checks of what it does."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._left, self._end = STEPS, monotonic() + SECONDS

    def step(self) -> str:
        """A loop or a macro goes round once."""
        self._left -= 1
        if self._left < 0:
            raise _LimitError(f"it takes more than {STEPS:,} steps")
        if monotonic() > self._end:
            raise _LimitError(f"it takes more than {SECONDS:.0f} seconds")
        return ""

    def result(self, value: Any) -> Any:
        """Look at a value that was made."""
        if isinstance(value, (str, list, tuple)) and len(value) > LARGEST_TEXT:
            raise _LimitError(f"it makes a value of more than {LARGEST_TEXT:,} characters")
        return value

    def concat(self, *parts: Any) -> Any:
        """Jinja's ~."""
        return self.result("".join(map(str, parts)))

    def arguments(self, values: Sequence[Any]) -> None:
        """Look at what a function or a filter is given."""
        self.step()
        for value in values:
            if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
                raise _LimitError(f"it uses numbers of more than {LARGEST_NUMBER:,}")

    def operands(self, operator: str, left: Any, right: Any) -> None:
        """Look at what * ** and % are given, which make much of little."""
        sizes = [len(operand) for operand in (left, right) if isinstance(operand, (str, list, tuple))]
        numbers = [abs(operand) for operand in (left, right) if isinstance(operand, int)]
        if operator == "*" and sizes and numbers and sizes[0] * numbers[0] > LARGEST_TEXT:
            raise _LimitError(f"it makes a value of more than {LARGEST_TEXT:,} characters")
        if operator == "**" or (operator == "*" and not sizes):
            self.arguments([left, right if operator == "*" or right in range(-64, 65) else LARGEST_NUMBER + 1])
        elif operator == "%" and isinstance(left, str) and re.search(r"\d{7}|\*", left):
            raise _LimitError("it formats numbers too widely")


def _environment(budget: _Budget, refusal: type[Exception]) -> Any:
    """What templates find around them, as they find it in transformers."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """A sandbox with limits."""

        intercepted_binops = frozenset({"*", "**", "%", "+"})
        guard = budget

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            budget.operands(operator, left, right)
            return budget.result(super().call_binop(context, operator, left, right))

        def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            if getattr(function, "__self__", None) is not budget:
                budget.arguments([*args, *kwargs.values()])
            return budget.result(super().call(context, function, *args, **kwargs))

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation()])
    environment.filters = {name: _bounded(function, budget) for name, function in environment.filters.items()}
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raiser(refusal), "strftime_now": _strftime_now}
    return environment


def _bounded(function: Callable[..., Any], budget: _Budget) -> Callable[..., Any]:
    """A filter that looks at what it is given, and at what it makes."""

    @functools.wraps(function)  # with the marks by which Jinja knows what to hand to it
    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget.arguments([*args, *kwargs.values()])
        if function.__name__ == "do_format":
            budget.operands("%", args[0], 0)
        return budget.result(function(*args, **kwargs))

    return bounded


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as it is; Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raiser(refusal: type[Exception]) -> Callable[[str], None]:
    def raise_exception(message: str) -> None:
        raise refusal(message)

    return raise_exception


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _generation() -> Any:
    """The block {% generation %}, by which some templates mark the assistant's turns: it is what stands in it."""
    from jinja2.ext import Extension

    class Generation(Extension):
        """What stands between {% generation %} and {% endgeneration %}."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Generation


def _guarded(tree: Any, environment: Any) -> Any:
    """A template's tree in which every turn of a loop, and every call of a macro, is a step."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def guard(name: str, arguments: list[Any]) -> Any:
        method = nodes.Getattr(nodes.EnvironmentAttribute("guard"), name, "load")
        return nodes.Call(method, arguments, [], None, None)

    class Guard(NodeTransformer):
        """Puts steps in."""

        def visit_For(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            node.body.insert(0, nodes.ExprStmt(guard("step", [])).set_lineno(node.lineno))
            return node

        visit_Macro = visit_CallBlock = visit_For  # noqa: N815

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            return guard("concat", node.nodes).set_lineno(node.lineno)

    guarded = Guard().visit(tree)
    guarded.set_environment(environment)
    return guarded
