"""Rows as text: medians, ratios, spreads, and the table of docs/performance.md."""
import json
import os
import statistics

BEGIN = "<!-- written by make bench: from here -->"
END = "<!-- written by make bench: to here -->"
UNITS = {"s": 1, "s/GiB": 1, "MiB": 1 << 20, "bytes": 1}


class Row:
    """
    ours and theirs: the values of each repetition, in turn; theirs None: a figure, not a
    ratio. aim: the bound of the ratio, or of the figure, as a number in the row's unit.
    others: the share of the processors that others used meanwhile, or None.
    """

    def __init__(self, name, what, against, ours, theirs=None, unit="s", aim=None, others=None):
        self.name, self.what, self.against = name, what, against
        self.ours, self.theirs, self.unit, self.aim = ours, theirs, unit, aim
        self.others = others

    def keep(self, turns, others):
        """Only what was measured in these turns, in which others used that much at most."""
        self.ours = [self.ours[x] for x in turns]
        self.theirs = self.theirs and [self.theirs[x] for x in turns]
        self.others = others

    def value(self):
        ours = statistics.median(self.ours)
        return ours / statistics.median(self.theirs) if self.theirs else ours / UNITS[self.unit]

    def spread(self):
        if self.theirs:
            each = [a / b for a, b in zip(self.ours, self.theirs)]
        else:
            each = [x / UNITS[self.unit] for x in self.ours]
        return min(each), max(each)

    def met(self):
        return None if self.aim is None else self.value() <= self.aim


def number(x):
    return f"{x:.2f}" if abs(x) < 10 else f"{x:.1f}" if abs(x) < 100 else f"{x:.0f}"


def amount(values, unit):
    return f"{number(statistics.median(values) / UNITS[unit])} {unit}"


def cells(row):
    """The row's cells as text: those of HEAD."""
    low, high = row.spread()
    theirs = amount(row.theirs, row.unit) if row.theirs else "–"
    value = number(row.value()) if row.theirs else "–"
    spread = f"{number(low)} … {number(high)}"
    aim = "–" if row.aim is None else "≤ " + number(row.aim)
    met = {None: "", True: "yes", False: "**no**"}[row.met()]
    return [row.what, row.against, amount(row.ours, row.unit), theirs, value, spread, aim, met,
            "–" if row.others is None else f"{100 * row.others:.0f} %"]


HEAD = ["what", "against", "ours", "theirs", "ratio", "spread", "aim", "met", "others"]


def markdown(rows):
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    return "\n".join(lines + ["| " + " | ".join(cells(x)) + " |" for x in rows])


def line(row):
    """For the terminal."""
    what, _against, ours, theirs, ratio, spread, aim, met, others = cells(row)
    text = f"{row.name:14} {ours:>12}"
    if row.theirs:
        text += f" against {theirs:>12}  ratio {ratio} ({spread})"
    else:
        text += f"  ({spread})"
    return text + (f"  aim {aim}: {'met' if row.met() else 'MISSED'}" if met else "") + \
        f"  others {others}  {what}"


def save(folder, rows, machine):
    """Each row in a file of its own, so that a table can be made of several runs."""
    os.makedirs(folder, exist_ok=True)
    for row in rows:
        path = os.path.join(folder, row.name + ".json")
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump({"row": vars(row), "machine": machine}, f, indent=1, ensure_ascii=False)
        os.rename(path + ".new", path)


def load(folder, order, machine):
    """The rows that were measured on this machine, in the order of their names in order."""
    rows = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if not name.endswith(".json"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            kept = json.load(f)
        if kept["machine"]["host"] == machine["host"]:
            rows[kept["row"]["name"]] = Row(**kept["row"])
    return [rows[x] for x in order if x in rows]


def document(text, rows, machine):
    """The text with what stands between the two marks written anew."""
    head, _, rest = text.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError("the marks of make bench are not there")
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    block = (f"Measured on {machine['date']}: {machine['host']}.\nVersions: {versions}.\n\n"
             + markdown(rows))
    return head + BEGIN + "\n" + block + "\n" + END + tail
