"""The report as one HTML file: ratio bars and latency distributions as inline SVG, no script and no other resource."""

import html
import math

from report import amount, digits, geometric_means

COLOURS = {"native": "#7a828e", "runc": "#2a9d8f", "crun": "#8ab17d", "gvisor": "#e07a3f", "runsc-systrap": "#2f6fde", "runsc-ptrace": "#9db8ee"}
TITLES = {"calls": "Calls that do next to nothing", "channels": "Pipes, sockets, event counters", "files": "Files and directories",
          "futex": "Futexes and threads", "memory": "Memory", "process": "Processes and signals", "readiness": "epoll and poll",
          "macro": "Real programs", "startup": "Starting containers", "idle": "An idle container"}

LABEL, RATIO, GAP, SPREAD = 190, 440, 60, 400  # widths of a row's parts
WIDTH = LABEL + RATIO + GAP + SPREAD + 20
BAR, PAD = 11, 12

STYLE = """
:root { --ink: #1d2430; --soft: #667080; --line: #e2e6ec; --paper: #ffffff; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a2b0; --line: #2c3440; --paper: #12161c; --panel: #1a2028; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1160px; margin: 0 auto; padding: 28px 22px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 40px 0 6px; } p { margin: 4px 0; } .soft { color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 14px 0; padding: 10px 14px; background: var(--panel); border-radius: 8px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.wide { overflow-x: auto; } svg { display: block; max-width: 100%; height: auto; }
svg text { font: 11px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); } svg .soft { fill: var(--soft); } svg .name { font-size: 12px; }
svg .grid { stroke: var(--line); } svg .one { stroke: var(--soft); stroke-dasharray: 3 3; } svg .target { fill: none; stroke: #c0392b; stroke-width: 1.5; }
svg .stripe { fill: var(--panel); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-top: 8px; font-size: 13px; }
th, td { padding: 3px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th { color: var(--soft); font-weight: 600; }
td.good { color: #1a8a4c; } td.bad { color: #c0392b; }
@media (prefers-color-scheme: dark) { td.good { color: #4fc281; } td.bad { color: #f0807a; } }
"""


class Scale:
    """Logarithmic positions over whole decades that hold all values."""

    def __init__(self, values, left, width):
        values = [v for v in values if v > 0] or [1]
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
        if self.low == self.high:
            self.high += 1
        self.left, self.width = left, width

    def at(self, value):
        part = (math.log10(max(value, 10 ** self.low)) - self.low) / (self.high - self.low)
        return self.left + self.width * min(max(part, 0), 1)

    def ticks(self):
        return [10.0 ** e for e in range(self.low, self.high + 1)]


def text(x, y, words, cls="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{cls}" text-anchor="{anchor}">{html.escape(words)}</text>'


def line(x1, y1, x2, y2, cls="grid", extra=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{cls}" {extra}/>'


def colour(runtime):
    return COLOURS.get(runtime, "#b06ab3")


def bar(scale, zero, y, runtime, row, unit):
    """A bar from 1 × to the ratio, or to the figure where nothing is native."""
    shown = row.get("ratio", row["median"])
    start, end = scale.at(zero), scale.at(shown)
    left, width = min(start, end), max(abs(end - start), 1.5)
    label = f"{digits(shown)} ×" if "ratio" in row else amount(row["median"], unit)
    tip = f"{runtime}: {amount(row['median'], unit)}" + (f", {digits(row['ratio'])} × native" if "ratio" in row else "")
    # The label stands beyond the bar's far end, or inside the panel when that would leave it.
    x = end + 5 if end >= start else start + 5
    return (f'<rect x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR - 2}" rx="2" fill="{colour(runtime)}"><title>{html.escape(tip)}</title></rect>'
            + text(x, y + BAR - 3, label, "soft"))


def spread(scale, y, runtime, points, unit):
    """First to 99.9th percentile as a line, 10th to 90th as a box, the median as a mark."""
    at = {p: scale.at(v) for p, v in points.items()}
    middle = y + (BAR - 2) / 2
    tip = f"{runtime}: " + ", ".join(f"p{p} {amount(v, unit)}" for p, v in points.items())
    paint = colour(runtime)
    return (f'<g><title>{html.escape(tip)}</title>' + line(at["1"], middle, at["99.9"], middle, "", f'stroke="{paint}"')
            + f'<rect x="{at["10"]:.1f}" y="{y + 1:.1f}" width="{max(at["90"] - at["10"], 1.5):.1f}" height="{BAR - 4}" rx="2" fill="{paint}" opacity=".55"/>'
            + line(at["50"], y, at["50"], y + BAR - 2, "", f'stroke="{paint}" stroke-width="3"')
            + f'<circle cx="{at["99"]:.1f}" cy="{middle:.1f}" r="2" fill="{paint}"/></g>')


def axis(scale, height, labels):
    return "".join(line(scale.at(t), 18, scale.at(t), height) + text(scale.at(t), 12, labels(t), "soft", "middle") for t in scale.ticks())


def family_svg(rows, names):
    """One drawing for the benchmarks of a family: [(name, entry)]."""
    relative = any("ratio" in r for _, e in rows for n, r in e["runtimes"].items() if n != "native")
    shown = [n for n in names if n != "native"] if relative else names
    ratios = [v for _, e in rows for n in shown for v in [e["runtimes"].get(n, {}).get("ratio" if relative else "median")] if v]
    ratios += [e["target"] for _, e in rows if e.get("target")] if relative else []
    left = Scale(ratios + [1.0] if relative else ratios, LABEL, RATIO - 60)
    points = [v for _, e in rows for n in names for v in e["runtimes"].get(n, {}).get("percentiles", {}).values()]
    right = Scale(points, LABEL + RATIO + GAP, SPREAD) if points else None
    out, y = [], 24
    for index, (name, entry) in enumerate(rows):
        height = max(len(shown), len(names) if right else 0) * BAR + PAD
        if index % 2:
            out.append(f'<rect x="0" y="{y - PAD / 2:.1f}" width="{WIDTH}" height="{height}" class="stripe"/>')
        native = entry["runtimes"].get("native", {}).get("median")
        out.append(text(0, y + 10, name.split("/", 1)[1], "name"))
        if native:
            out.append(text(0, y + 23, "native " + amount(native, entry["unit"]), "soft"))
        for place, runtime in enumerate(shown):
            row = entry["runtimes"].get(runtime, {})
            if "median" in row and (not relative or "ratio" in row):
                out.append(bar(left, 1 if relative else 10 ** left.low, y + place * BAR, runtime, row, entry["unit"]))
            elif "error" in row:
                out.append(text(left.at(1) + 5, y + place * BAR + BAR - 3, f"{runtime}: failed", "soft"))
        if relative and entry.get("target"):
            x = left.at(entry["target"])
            out.append(f'<g><title>target: at most {digits(entry["target"])} × native</title>'
                       + line(x, y - 3, x, y + len(shown) * BAR + 1, "target") + "</g>")
        for place, runtime in enumerate(names):
            percentiles = entry["runtimes"].get(runtime, {}).get("percentiles")
            if percentiles and right:
                out.append(spread(right, y + place * BAR, runtime, percentiles, entry["unit"]))
        y += height
    head = axis(left, y, (lambda t: f"{t:g} ×") if relative else lambda t: f"{t:g}")
    if relative:
        head += line(left.at(1), 18, left.at(1), y, "one")
    if right:
        head += axis(right, y, lambda t: amount(t, "ns").replace(".00", "").replace(".0", ""))
    stripes = [o for o in out if 'class="stripe"' in o]
    rest = [o for o in out if 'class="stripe"' not in o]
    return (f'<div class="wide"><svg viewBox="0 0 {WIDTH} {y + 4}" width="{WIDTH}" role="img">' + "".join(stripes) + head + "".join(rest) + "</svg></div>")


def summary(data, names, families):
    """Geometric means of the ratios, a row for each family."""
    means = geometric_means(data)
    others = [n for n in names if n != "native" and n in means]
    out = ["<table><tr><th>geometric mean of times native</th>" + "".join(f"<th>{html.escape(n)}</th>" for n in others) + "</tr>"]
    for family in families:
        if not any(family in means[n] for n in others):
            continue
        cells = "".join(f"<td>{digits(means[n][family])} ×</td>" if family in means[n] else "<td>–</td>" for n in others)
        out.append(f"<tr><td>{html.escape(TITLES.get(family, family))}</td>{cells}</tr>")
    return "".join(out) + "</table>"


def table(data, names):
    others = [n for n in names if n != "native"]
    out = ["<table><tr><th>benchmark</th>" + "".join(f"<th>{html.escape(n)}</th>" for n in ["native", *others]) + "<th>target</th></tr>"]
    for name, entry in data["results"].items():
        cells = []
        for runtime in ["native", *others]:
            row = entry["runtimes"].get(runtime, {})
            if "median" not in row:
                cells.append(f'<td title="{html.escape(row.get("error", ""))}">{"failed" if "error" in row else "–"}</td>')
                continue
            words = amount(row["median"], entry["unit"])
            cls = ""
            if runtime != "native" and "ratio" in row:
                words += f" · {digits(row['ratio'])} ×"
                if runtime == "runsc-systrap" and entry.get("target"):
                    cls = ' class="good"' if row["ratio"] <= entry["target"] else ' class="bad"'
            cells.append(f"<td{cls}>{words}</td>")
        target = f"≤ {digits(entry['target'])} ×" if entry.get("target") else ""
        out.append(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}<td>{target}</td></tr>")
    return '<div class="wide">' + "".join(out) + "</table></div>"


def notes(data):
    out = []
    if data["skipped"]:
        out.append("<h2>Not run</h2>" + "".join(f"<p>{html.escape(n)}: {html.escape(w)}</p>" for n, w in data["skipped"].items()))
    if data["failures"]:
        out.append("<h2>Failed</h2>" + "".join(f"<p>{html.escape(r)}, {html.escape(n)}: <span class=soft>{html.escape(w)}</span></p>"
                                              for r, n, w in data["failures"]))
    return "".join(out)


def render(data):
    names = [r["name"] for r in data["runtimes"]]
    families = list(dict.fromkeys(n.split("/")[0] for n in data["results"]))
    machine, load = data["machine"], data["load"]
    kind = "smoke run: figures mean nothing" if data["smoke"] else "quick run" if data["quick"] else "full run"
    out = [f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
           f"<title>runsc benchmarks</title><style>{STYLE}</style><h1>runsc benchmarks</h1>"
           f'<p class="soft">{html.escape(machine["cpu"])}, {machine["cpus"]} CPUs, {machine["memory_gib"]} GiB, Linux {html.escape(machine["kernel"])} · '
           f'{machine["date"]} · {kind}, {data["rounds"]} interleaved rounds · load average {load["median"]:.1f} '
           f'({load["least"]:.1f} to {load["most"]:.1f})</p>', '<div class="legend">']
    out += [f'<span title="{html.escape(r["version"])}"><i style="background:{colour(r["name"])}"></i>{html.escape(r["name"])} '
            f'<span class="soft">{html.escape(r["version"])}</span></span>' for r in data["runtimes"]]
    out.append('</div><p class="soft">Left: times slower than native (rates: native’s rate over this one’s), logarithmic; the red mark is the target for ours. '
               "Right: single operations, 1st to 99.9th percentile as a line, 10th to 90th as a box, dot at the 99th, bar at the median.</p>")
    out.append(summary(data, names, families))
    for family in families:
        rows = [(n, e) for n, e in data["results"].items() if n.split("/")[0] == family]
        out.append(f"<h2>{html.escape(TITLES.get(family, family))}</h2>" + family_svg(rows, names))
    out.append("<h2>All figures</h2>" + table(data, names) + notes(data) + "</html>")
    return "\n".join(out)
