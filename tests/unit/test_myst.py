"""A page falls into blocks, each with its place."""

from dl4cv.book import myst

PAGE = """---
kernelspec: {name: python3}
---

(here)=
# A title

Some text.
% a comment

```{math}
:label: eq-one

x
```

- An item
  ```{note} Read
  inside
  ```

````{code-cell} ipython3
---
mystnb:
  figure: {caption: "It's $x$: a curve.", name: fig-one}
---
"```"
````

```python
{ref}`not a role`
```

$$ a
+ b $$
"""


def found() -> list[myst.Block]:
    return list(myst.page(PAGE))


def named(name: str) -> myst.Block:
    [block] = [block for block in found() if block.name == name]
    return block


def test_blocks_come_in_order_without_front_matter_and_comments():
    kinds = [block.kind for block in found() if any(block.lines) or block.name]
    assert kinds == [
        *("label", "text", "directive", "text", "directive"),
        *("directive", "verbatim", "verbatim"),
    ]
    assert not any("comment" in line for block in found() for line in block.lines)


def test_each_block_knows_its_line():
    lines = PAGE.splitlines()
    for block in found():
        if block.kind == "directive":
            assert f"{{{block.name}}}" in lines[block.line - 1]
            assert lines[block.body_line - 1].strip() == block.lines[0]
        elif block.kind == "verbatim":
            assert lines[block.line - 1] == block.lines[0]


def test_options_come_as_fields_and_as_a_block():
    assert named("math").options == {"label": "eq-one"}
    figure = {"caption": "It's $x$: a curve.", "name": "fig-one"}
    assert named("code-cell").options == {"mystnb": {"figure": figure}}


def test_a_longer_fence_holds_a_shorter_one():
    assert named("code-cell").lines == ['"```"']


def test_a_directive_in_a_list_loses_its_indent():
    note = named("note")
    assert (note.indent, note.argument, note.lines) == ("  ", "Read", ["inside"])


def test_a_formula_of_several_lines_is_one_block():
    assert found()[-1].lines == ["$$ a", "+ b $$"]
