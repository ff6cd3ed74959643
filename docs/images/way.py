"""Draw the way of one item: ``python docs/images/way.py`` writes ``way.svg`` beside this file.

The picture takes the colour of its text from where it stands, so it is legible in light and dark.
"""

from html import escape
from pathlib import Path

STYLE = """\
svg.mb-way:root { color: #1f2328; }
@media (prefers-color-scheme: dark) { svg.mb-way:root { color: #e6e8eb; } }
.mb-way text { fill: currentColor; font: 12px system-ui, sans-serif; }
.mb-way .name { font: 600 13px system-ui, sans-serif; }
.mb-way .who { font: 600 12px system-ui, sans-serif; fill-opacity: .7; }
.mb-way .middle { text-anchor: middle; }
.mb-way .band { fill: currentColor; fill-opacity: .05; }
.mb-way .box { fill: #3b82c4; fill-opacity: .18; stroke: #3b82c4; stroke-width: 1.5; }
.mb-way .yours { fill: none; stroke: currentColor; stroke-opacity: .6; stroke-width: 1.5; }
.mb-way .way { fill: none; stroke: currentColor; stroke-width: 1.5; }
.mb-way .aside { stroke-dasharray: 3 3; stroke-opacity: .7; }
.mb-way .tip { fill: currentColor; }"""

TOLD = (
    "A caller submits an item, and gets a ticket at once. The submitter finds the lane of the "
    "running loop and makes an entry of the item. Where there is no room the entry waits for "
    "admission. Then it stands in the queue of its key, which is lingering, ready or blocked. When "
    "a slot is free, the dispatcher takes a batch from a ready queue, and a run calls the handler. "
    "The answer is settled, with ordered results when it is the batch's turn: each ticket has its "
    "result, and the waker wakes the caller."
)

WIDTH, HEIGHT = 720, 396
TIP = 'refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse"'
BANDS = (
    (6, 74, 12, "your code"),
    (92, 162, 300, "for each item, in C: _core"),
    (266, 124, 12, "for each batch, in Python"),
)
"""Each with its top, its height, and where it says what runs there."""
BOXES = (
    ("yours", 12, 30, 150, 40, "await submit(item)", ()),
    ("yours", 536, 30, 172, 40, "its result, or an error", ()),
    ("box", 12, 122, 118, 56, "Submitter", ("its Router knows", "the loop's Lane")),
    ("box", 154, 122, 118, 56, "Ticket, Entry", ("an item, and", "who waits for it")),
    ("box", 154, 204, 118, 40, "waiting", ("for admission",)),
    (
        *("box", 300, 122, 150, 122, "KeyQueue"),
        (
            "one for each key",
            "",
            "lingering: for company",
            "ready: may go",
            "blocked: slots used up",
        ),
    ),
    ("box", 474, 122, 110, 56, "InFlightBatch", ("the items of", "one call")),
    ("box", 608, 122, 100, 56, "Waker", ("wakes callers,", "a batch at once")),
    (
        "box",
        300,
        296,
        150,
        72,
        "Dispatcher",
        ("a slot is free and", "there is a reason:", "next_batch()"),
    ),
    ("yours", 474, 296, 110, 72, "your handler", ("called by a run,", "once or again")),
    (
        "box",
        608,
        296,
        100,
        72,
        "Settling",
        ("who gets what;", "a ReorderBuffer", "keeps the order"),
    ),
)
"""Each with its kind, its place and size, its name and more lines."""
WAYS = (
    ("way", "M71 70V122", ""),
    ("way", "M130 150H154", ""),
    ("way aside", "M213 122V50H162", "at once"),
    ("way", "M272 150H300", ""),
    ("way aside", "M213 178V204", ""),
    ("way aside", "M272 224H300", ""),
    ("way", "M375 296V244", ""),
    ("way", "M450 150H474", ""),
    ("way", "M528 178V296", ""),
    ("way", "M584 332H608", ""),
    ("way", "M658 296V178", ""),
    ("way", "M658 122V70", ""),
)
"""Each from where to where; the dashed ones are not every item's."""


def draw() -> str:
    """Give the picture."""
    lines = [
        f'<svg class="mb-way" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' role="img" aria-labelledby="mb-way-title mb-way-desc">',
        '<title id="mb-way-title">The way of one item</title>',
        f'<desc id="mb-way-desc">{escape(TOLD, quote=False)}</desc>',
        f"<style>\n{STYLE}\n</style>",
        f'<marker id="mb-way-tip" viewBox="0 0 8 8" {TIP} orient="auto">',
        '<path class="tip" d="M0 0L8 4L0 8z"/></marker>',
    ]
    for top, height, left, who in BANDS:
        lines.append(
            f'<rect class="band" x="0" y="{top}" width="{WIDTH}" height="{height}" rx="6"/>'
        )
        lines.append(f'<text class="who" x="{left}" y="{top + 17}">{escape(who)}</text>')
    for kind, x, y, width, height, name, more in BOXES:
        lines.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'
        )
        first = y + (height - 16 * len(more)) / 2 + 4.5 if len(more) < 4 else y + 18
        for number, words in enumerate((name, *more)):
            marked = "name middle" if number == 0 else "middle"
            line = f'<text class="{marked}" x="{x + width / 2:g}" y="{first + 16 * number:g}">'
            lines.append(f"{line}{escape(words)}</text>")
    for kind, path, words in WAYS:
        lines.append(f'<path class="{kind}" d="{path}" marker-end="url(#mb-way-tip)"/>')
        if words:
            lines.append(f'<text x="221" y="88">{escape(words)}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
