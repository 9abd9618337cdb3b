"""The notebooks and an index as pages in html/, for a browser, a phone or a screen reader.

The pages fetch nothing: pictures are inside, with their words, and formulas are MathML.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lib.analysis.readme import README
from lib.support.files import ROOT, write_atomically

PAGES = ROOT / "html"
INDEX = "index.html"


class Renderer(IPythonRenderer):
    """Markdown to HTML: formulas as MathML, notebooks as their pages; a file that does not come along has no link."""

    def inline_math(self, body: str) -> str:
        return convert(body)

    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, re.sub(r"\.ipynb$", ".html", url), title) if "../" not in url else text


class Exporter(HTMLExporter):
    """Notebooks to HTML, by the template report/pages."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        options = {"escape": False, "embed_images": True, "exclude_anchor_links": True, "path": str(ROOT)}
        return MarkdownWithMath(Renderer(**options)).render(source)


def page(exporter: Exporter, notebook: nbformat.NotebookNode, way: list[dict[str, str]]) -> str:
    """A notebook as HTML. way: links to other pages, each with `href`, `text` and, of a neighbour, `rel`."""
    text, _ = exporter.from_notebook_node(notebook, {"way": way, "metadata": {"name": title(notebook)}})
    text = text.replace(' tabindex="0"', "")  # nbconvert's, on every cell: what does not scroll needs no stop
    table = '<div class="table" tabindex="0" role="group" aria-label="table"><table>'
    return text.replace("<table>", table).replace("</table>", "</table></div>").replace("<th></th>", "<td></td>")


def title(notebook: nbformat.NotebookNode) -> str:
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def index(notebooks: dict[Path, nbformat.NotebookNode]) -> str:
    """Markdown: the README's beginning, and of each notebook the question and the answer in bold below it."""
    lines = [
        README.read_text(encoding="utf-8").partition("\n## ")[0].replace("](notebooks/", "]("),
        "## The notebooks\n",
    ]
    for path, notebook in notebooks.items():
        answer = re.search(r"\*\*.+?\*\*", notebook.cells[0].source)
        lines.append(f"- [{title(notebook)}]({path.name}) {answer[0] if answer else ''}")
    return "\n".join(lines)


def write(notebooks: dict[Path, nbformat.NotebookNode]) -> Path:
    """Write the pages of all notebooks, by path; returns the index."""
    PAGES.mkdir(exist_ok=True)
    exporter = Exporter(template_name="pages", extra_template_basedirs=[str(ROOT / "report")])
    cover = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(index(notebooks))])
    links = [{"href": f"{path.stem}.html", "text": title(each)} for path, each in notebooks.items()]
    write_atomically(PAGES / INDEX, page(exporter, cover, links[:1]))
    for i, (path, notebook) in enumerate(notebooks.items()):
        way = [{"href": INDEX, "text": "All notebooks"}]
        way += [link | {"rel": "prev", "text": f"← {link['text']}"} for link in links[:i][-1:]]
        way += [link | {"rel": "next", "text": f"{link['text']} →"} for link in links[i + 1 :][:1]]
        write_atomically(PAGES / f"{path.stem}.html", page(exporter, notebook, way))
    return PAGES / INDEX
