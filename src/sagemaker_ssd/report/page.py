"""The page: one HTML file without anything from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from sagemaker_ssd.report.pictures import Picture

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;--card:#f6f8fa;--mark:#0072b2}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4ae;--line:#3d444d;--paper:#0d1117;--card:#161b22;
--mark:#56b4e9}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:.4em 0}h2{font-size:1.2rem;margin:2em 0 .6em;border-bottom:1px solid var(--line)}
p,li{max-width:46rem}.soft,figcaption,caption{color:var(--soft);font-size:.9rem}
.big{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}
.big div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.6rem 1rem;flex:1 1 8rem}
.big b{display:block;font-size:1.5rem;color:var(--mark)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child,caption{text-align:left}td.hit{font-weight:bold}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr));gap:1rem}
figure{margin:0;max-width:46rem}summary{cursor:pointer}figure img,figure svg{width:100%;height:auto;display:block}
figcaption{overflow-wrap:anywhere}.out li{margin:.3rem 0}
@media print{body{max-width:none}figure,tr{break-inside:avoid}}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Put a page together."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(part for part in parts if part) + "\n</main></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Put a section together; nothing without parts."""
    inner = "\n".join(part for part in parts if part)
    return f"<section><h2>{escape(title)}</h2>\n{inner}\n</section>" if inner else ""


def paragraph(text: str) -> str:
    """Write a paragraph."""
    return f'<p class="soft">{escape(text)}</p>'


def sentences(texts: Sequence[str]) -> str:
    """Write a list of sentences."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="out">{items}</ul>' if texts else ""


def numbers(pairs: Iterable[tuple[str, str]]) -> str:
    """Write large figures side by side."""
    return f'<div class="big">{"".join(f"<div><b>{escape(v)}</b>{escape(n)}</div>" for n, v in pairs)}</div>'


def chart(svg: str, text: str) -> str:
    """Put a chart in, with what it shows for those who cannot see it."""
    return f'<figure role="img" aria-label="{escape(text)}">{svg}<figcaption>{escape(text)}</figcaption></figure>'


def pair(*parts: str) -> str:
    """Put charts side by side where there is room."""
    return f'<div class="pair">{"".join(parts)}</div>'


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], caption: str, *, diagonal: bool = False) -> str:
    """Write a table that scrolls in its own box; diagonal: stress the cells on it."""
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = []
    for number, row in enumerate(rows):
        marks = [' class="hit"' if diagonal and column == number else "" for column in range(len(row) - 1)]
        cells = "".join(f"<td{mark}>{escape(cell(v))}</td>" for mark, v in zip(marks, row[1:], strict=True))
        body.append(f'<tr><th scope="row">{escape(cell(row[0]))}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def cell(value: Any) -> str:
    """Write a value: counts with commas, figures with three digits, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def folded(title: str, content: str) -> str:
    """Put something away until a reader opens it."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def pictures(found: Sequence[Picture]) -> str:
    """Write pictures with captions."""
    figures = []
    for one in found:
        image = f'<img src="{one.address}" alt="{escape(one.caption)}" loading="lazy">' if one.address else ""
        figures.append(f"<figure>{image}<figcaption>{escape(one.caption)}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""
