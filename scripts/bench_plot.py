"""Draws what scripts/bench.sh measured: one panel for each transform, Gbit/s against the size of packets, as SVG."""

from math import ceil, log2

PANELS = ("gcm128", "gcm256", "cbcsha1", "cbcsha256")
BATCH, FASTEST = 32, 0
COLOURS = {
    "gipsec": "#c1121f",
    "aesni_gcm auto": "#1d4e89",
    "aesni_mb avx512": "#2a9d8f",
    "aesni_mb avx2": "#7a9e3f",
    "aesni_mb sse": "#b08900",
    "openssl auto": "#777777",
}
WIDTH, HEIGHT = 900, 700
PLOT_WIDTH, PLOT_HEIGHT = 360, 230
LEFTS, TOPS = (60, 500), (110, 410)
FONT = "font-family='Helvetica, Arial, sans-serif'"


def text(x, y, content, size=12, anchor="start", weight="normal", colour="#222222"):
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}' font-weight='{weight}' "
        f"fill='{colour}'>{content}</text>"
    )


def line(x1, y1, x2, y2, colour="#dddddd"):
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"


def step_below(highest):
    """Distance of the grid's lines: about five of them."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if highest / step <= 6)


def panel(results, transform, title, names, left, top):
    gbits = {}
    for name, variants in names.items():
        keys = [(transform, "encap", BATCH, size) for size in results.sizes]
        if any((variant, *keys[0]) in results.times for variant in variants):
            gbits[name] = [key[3] * 8 / results.best(FASTEST, variants, *key)[1] for key in keys]
    step = step_below(max(max(values) for values in gbits.values()))
    highest = step * ceil(max(max(values) for values in gbits.values()) / step)
    first, last = log2(results.sizes[0]), log2(results.sizes[-1])

    def x(size):
        return left + (log2(size) - first) / (last - first) * PLOT_WIDTH

    def y(value):
        return top + PLOT_HEIGHT - value / highest * PLOT_HEIGHT

    parts = [text(left, top - 12, title, 14, weight="bold")]
    for value in range(0, highest + 1, step):
        parts.append(line(left, y(value), left + PLOT_WIDTH, y(value)))
        parts.append(text(left - 8, y(value) + 4, value, 11, "end"))
    for size in results.sizes:
        parts.append(line(x(size), top + PLOT_HEIGHT, x(size), top + PLOT_HEIGHT + 4, "#888888"))
        # 1024 and 1420 are too near to each other for two labels in one line.
        parts.append(text(x(size), top + PLOT_HEIGHT + (30 if size == 1420 else 17), size, 11, "middle"))
    # Ours last, and so on top.
    for name in reversed(gbits):
        points = [(x(size), y(value)) for size, value in zip(results.sizes, gbits[name])]
        width = 3 if name == "gipsec" else 1.75
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{COLOURS[name]}' stroke-width='{width}'/>")
        parts += [f"<circle cx='{px:.1f}' cy='{py:.1f}' r='{width}' fill='{COLOURS[name]}'/>" for px, py in points]
    return parts


def plot(results, titles, drivers, sessions):
    """The whole drawing; `results` as bench_report.Results. A driver is drawn in the session that suits it best."""
    variants = {"gipsec": ["gipsec"]} | {driver: [f"{driver} {session}" for session in sessions] for driver in drivers}
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}' {FONT}>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        text(20, 28, "ESP encapsulation in batches of 32 on one core, Gbit/s of inner packets against their size in bytes", 15),
    ]
    at = 20
    for name, label in {"gipsec": "libgipsec", **drivers}.items():
        parts.append(f"<rect x='{at}' y='46' width='18' height='4' fill='{COLOURS[name]}'/>")
        parts.append(text(at + 24, 53, label, 12, weight="bold" if name == "gipsec" else "normal"))
        at += 24 + 7 * len(label) + 22
    parts.append(text(20, 74, "All but libgipsec: librte_ipsec over that driver of DPDK.", 11, colour="#666666"))
    for index, transform in enumerate(PANELS):
        parts += panel(results, transform, titles[transform], variants, LEFTS[index % 2], TOPS[index // 2])
    return "\n".join([*parts, "</svg>", ""])
