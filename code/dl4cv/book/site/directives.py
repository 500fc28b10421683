"""Directives and nodes of the book: included source, lists of the registries, solutions."""

from docutils import nodes
from docutils.parsers.rst.directives import flag, unchanged_required
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from dl4cv.book.excerpts import excerpt
from dl4cv.data import registry
from dl4cv.fetch.published import Folder, Published
from dl4cv.pretrained import registry as networks


class PackageSource(SphinxDirective):
    """``{literalinclude}`` of one object: its body and the first line of its docstring."""

    required_arguments = 1
    # ``dedent`` is what every excerpt is; chapters may still say it.
    option_spec = {"pyobject": unchanged_required, "language": unchanged_required, "dedent": flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Return the code block, or a warning if the object isn't there."""
        relative, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        try:
            text = excerpt(path, self.options["pyobject"])
        except (OSError, ValueError) as error:
            return [self.state.document.reporter.warning(str(error), line=self.lineno)]
        block = nodes.literal_block(text, text, language="python")
        self.set_source_info(block)
        return [block]


class _Registered(SphinxDirective):
    """What a registry knows of each of its entries: a field list under the entry's name."""

    def described(self, item: Published, more: dict[str, str]) -> list[nodes.Node]:
        """Return the name of ``item`` and its fields, ``more`` among them."""
        remote = [s for s in item.sources if not isinstance(s, Folder)]
        fields = {
            "What": nodes.Text(item.about),
            "By": nodes.Text(item.credit),
            "Licence": nodes.reference(
                "", item.license.name, refuri=item.license.url, internal=False
            ),
            "Home": nodes.reference("", item.homepage, refuri=item.homepage, internal=False),
            **{name: nodes.Text(text) for name, text in more.items()},
            "Fetched from": nodes.Text(", else ".join(str(source) for source in remote)),
        }
        listed = (
            nodes.field(
                "",
                nodes.field_name("", name),
                nodes.field_body("", nodes.paragraph("", "", value)),
            )
            for name, value in fields.items()
        )
        return [nodes.rubric("", item.title), nodes.field_list("", *listed)]


class Datasets(_Registered):
    """``{datasets}``: what the package's registry knows of each data set."""

    def run(self) -> list[nodes.Node]:
        """Return a field list for each data set under its name."""
        self.env.note_dependency(registry.__file__)
        return [
            node
            for data_set in registry.DATASETS.values()
            for node in self.described(data_set, {"Classes": ", ".join(data_set.class_names)})
        ]


class Networks(_Registered):
    """``{networks}``: what the package's registry knows of each pretrained network."""

    def run(self) -> list[nodes.Node]:
        """Return a field list for each network under its name."""
        self.env.note_dependency(networks.__file__)
        return [
            node for network in networks.NETWORKS.values() for node in self.described(network, {})
        ]


def visit_solution(self: HTML5Translator, node: nodes.Element) -> None:
    """Open a solution as ``<details>``: folded without a script, and in reach of the keyboard."""
    title, *rest = node.children
    self.body.append(self.starttag(node, "details", CLASS="admonition"))
    self.body.append(f'<summary class="admonition-title">{self.encode(title.astext())}</summary>\n')
    node.children = rest


def depart_solution(self: HTML5Translator, node: nodes.Element) -> None:
    """Close what ``visit_solution`` opened."""
    self.body.append("</details>\n")
