"""The skeleton of the report: style sheet, sections, tables. Nothing is loaded from anywhere."""

from collections.abc import Iterable, Sequence
from html import escape

CSS = """
:root { --ink: #22303c; --pale: #6b7885; --line: #dfe4e8; --good: #2f7d4f; --bad: #b3402e; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f7; color: var(--ink);
  font: 15px/1.5 "DejaVu Sans", "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 36px 60px; background: #fff; }
h1 { font-size: 25px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 40px 0 6px; }
.sub { color: var(--pale); margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 22px 0 8px; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
.tile b { display: block; font-size: 21px; } .tile small { font-size: 13px; font-weight: 400; }
.tile span { color: var(--pale); font-size: 12.5px; }
figure { margin: 8px 0 0; } figure img { width: 100%; height: auto; display: block; }
figcaption, p.note { color: #44525e; font-size: 13.5px; max-width: 92ch; margin: 6px 0 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: 8px 0; }
th, td { text-align: left; padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--pale); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td code { font-size: 12.5px; word-break: break-all; }
.good { color: var(--good); } .bad { color: var(--bad); } .same { color: var(--pale); }
details { margin: 8px 0; border: 1px solid var(--line); border-radius: 6px; padding: 6px 14px; }
summary { cursor: pointer; font-weight: 600; }
.warning { border-left: 4px solid #e09f3e; background: #fdf6ea; padding: 8px 14px; margin: 10px 0; }
@media print { body, main { background: #fff; padding: 0; } details { border: 0; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole HTML document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *content: str) -> str:
    """A heading with what belongs to it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def figure(source: str, alternative: str, caption: str) -> str:
    """A picture with a caption that says what one sees; ``source`` is a data address."""
    image = f'<img src="{source}" alt="{escape(alternative, quote=True)}">'
    return f"<figure>\n{image}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of HTML cells; columns in ``numbers`` are set flush right."""
    drawn = ["<table>", _row("th", [escape(name) for name in head], numbers)]
    drawn += [_row("td", row, numbers) for row in rows]
    return "\n".join([*drawn, "</table>"])


def folded(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{content}\n</details>"


def tile(value: str, label: str) -> str:
    """One large number, its unit smaller, with what it is."""
    head, _, unit = value.partition(" ")
    large = f"<b>{escape(head)} <small>{escape(unit)}</small></b>"
    return f'<div class="tile">{large}<span>{escape(label)}</span></div>'


def note(text: str) -> str:
    """A paragraph of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def _row(tag: str, cells: Sequence[str], numbers: Sequence[int]) -> str:
    marked = (f'<{tag} class="n">' if index in numbers else f"<{tag}>" for index in range(len(cells)))
    return (
        "<tr>" + "".join(f"{mark}{cell}</{tag}>" for mark, cell in zip(marked, cells, strict=True)) + "</tr>"
    )
