"""
A strict reader of the Prometheus text format 0.0.4, as `promtool check metrics` is: what it
does not know is an error, and so is what Prometheus would take but its conventions do not.
"""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)\}})? (\S+)")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?Inf|NaN")
PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
KINDS = ("counter", "gauge", "histogram", "summary", "untyped")
RESERVED = ("_total", "_bucket", "_sum", "_count", "_created")


class Bad(Exception):
    """What is wrong, with the line."""


def need(condition, line, why):
    if not condition:
        raise Bad(f"{why}: {line}")


class Family:
    def __init__(self, name):
        self.name = name
        self.help = self.kind = None
        self.samples = {}  # {(name, ((label, value), …)): number}

    def takes(self, name):
        return name in [self.name + x for x in PARTS.get(self.kind, ("",))]


def unescape(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m.group(1), m.group(1)), text)


def read_comment(line, families):
    """A HELP or TYPE; the family that it opens, or goes on with."""
    m = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line)
    need(m, line, "neither HELP nor TYPE")
    word, name, rest = m.groups()
    last = next(reversed(families), None)
    if name != last:
        need(name not in families, line, "the family stands in two places")
        families[name] = Family(name)
    family = families[name]
    need(not family.samples, line, "behind its samples")
    if word == "HELP":
        need(family.help is None, line, "a second HELP")
        need(re.fullmatch(r"(?:[^\\]|\\[\\n])*", rest), line, "badly escaped")
        family.help = rest
    else:
        need(family.kind is None, line, "a second TYPE")
        need(rest in KINDS, line, "no such type")
        family.kind = rest


def read_sample(line, families):
    m = SAMPLE.fullmatch(line)
    need(m, line, "no sample")
    name, number = m.group(1), m.groups()[-1]
    need(families, line, "without HELP and TYPE")
    family = families[next(reversed(families))]
    need(family.kind and family.help, line, "without HELP or TYPE")
    need(family.takes(name), line, "not below its TYPE")
    need(NUMBER.fullmatch(number), line, "no number")
    labels = tuple(sorted((k, unescape(v)) for k, v in re.findall(LABEL, m.group(2) or "")))
    need(len({k for k, _ in labels}) == len(labels), line, "a label twice")
    need((name, labels) not in family.samples, line, "a sample twice")
    family.samples[name, labels] = float(number.replace("Inf", "inf"))


def check_conventions(family):
    """What promtool's linter says, and what OpenMetrics would not take."""
    name = family.name
    need(family.help and family.kind, name, "HELP or TYPE is missing")
    need(family.samples, name, "no samples")
    need(re.fullmatch(r"[a-z][a-z0-9_]*", name), name, "not in snake_case")
    need(name.endswith("_total") == (family.kind == "counter"), name, "_total is for counters")
    need(family.kind == "counter" or not name.endswith(RESERVED), name, "a reserved ending")
    need(not re.search(r"_(ms|milliseconds|kilobytes|kib|mib|minutes)(_|$)", name), name,
         "not in base units")
    for _, labels in family.samples:
        need(family.kind == "histogram" or "le" not in dict(labels), name, "le is a histogram's")
    if family.kind == "counter":
        need(all(v >= 0 for v in family.samples.values()), name, "a counter below zero")


def check_histogram(family):
    """Buckets in order and cumulative, the last one +Inf and the count; a sum for each."""
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(x for x in labels if x[0] != "le")
        part = name[len(family.name):]
        if part == "_bucket":
            need("le" in dict(labels), name, "a bucket without le")
            series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    need(series, family.name, "no buckets")
    for rest, buckets in series.items():
        bounds, counts = zip(*buckets)
        need(list(bounds) == sorted(set(bounds)), f"{family.name}{rest}", "bounds out of order")
        need(list(counts) == sorted(counts), f"{family.name}{rest}", "not cumulative")
        need(bounds[-1] == math.inf, f"{family.name}{rest}", "no +Inf")
        need(family.samples.get((family.name + "_count", rest)) == counts[-1],
             f"{family.name}{rest}", "the count is not that of +Inf")
        need((family.name + "_sum", rest) in family.samples, f"{family.name}{rest}", "no sum")
    parts = [k for k in family.samples if not k[0].endswith("_bucket")]
    need(len(parts) == 2 * len(series), family.name, "a sum or count without buckets")


def parse(text):
    """{name: Family}, or Bad."""
    need(text.endswith("\n") and not text.endswith("\n\n"), text[-80:], "no line end at the end")
    families = {}
    for line in text[:-1].split("\n"):
        need(line and line == line.strip() and "\r" not in line, repr(line), "an empty line")
        (read_comment if line.startswith("#") else read_sample)(line, families)
    for family in families.values():
        check_conventions(family)
        base = family.name.removesuffix("_total")
        need(base == family.name or base not in families, family.name,
             "in OpenMetrics the name of another family")
        if family.kind == "histogram":
            check_histogram(family)
    return families
