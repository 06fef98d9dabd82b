"""The page's frame, and the elements that its sections are made of; cells and texts come escaped."""

from collections.abc import Iterable, Sequence

from sagemaker_ssd.report.style import STYLE
from sagemaker_ssd.report.wording import escape

# Nothing is fetched and nothing runs, whatever stands in the data.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, introduction: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return the document; a section is its anchor, its title and its content, and is left out without content."""
    present = [part for part in sections if part[2]]
    links = "".join(f'<a href="#{anchor}">{title_}</a>' for anchor, title_, _ in present)
    bodies = "\n".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title_}</h2>\n{content}</section>'
        for anchor, title_, content in present
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title, 120)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title, 120)}</h1>
{introduction}
</header>
<nav aria-label="Sections">{links}</nav>
<main>
{bodies}
</main>
</body>
</html>
"""


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "", texts: bool = False
) -> str:
    """Return a table in a box of its own that scrolls; the first cell of a row names it, `texts`: the others are words.

    A cell that starts with `<td` is taken as it is.
    """
    plain_cell = '<td class="text">' if texts else "<td>"
    aligned = ' class="text"' if texts else ""
    head = "".join(f'<th scope="col"{aligned}>{name}</th>' for name in header)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(cell if cell.startswith("<td") else f"{plain_cell}{cell}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, 200)}">'
        f'<table class="{style}"><caption>{escape(caption, 300)}</caption><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )


def tiles(figures: Sequence[tuple[str, str]]) -> str:
    """Return labelled figures, the first one large."""
    parts = [
        f"<div{' class=' + chr(34) + 'main' + chr(34) if not index else ''}><dt>{escape(label)}</dt>"
        f"<dd>{escape(value)}</dd></div>"
        for index, (label, value) in enumerate(figures)
    ]
    return f'<dl class="tiles">{"".join(parts)}</dl>'


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(sentence, 1000)}</li>' for sentence in sentences)}</ul>\n"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text, 2000)}</p>\n"


def figure(chart: str, caption: str) -> str:
    """Return a chart with its caption; empty without a chart."""
    return f"<figure>{chart}<figcaption>{escape(caption, 400)}</figcaption></figure>" if chart else ""


def details(summary: str, content: str) -> str:
    """Return content that is shown on request."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>\n"


def side_by_side(*parts: str) -> str:
    """Return parts in columns where the window has room for them, those that are empty left out."""
    return (
        f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>\n' if any(parts) else ""
    )
