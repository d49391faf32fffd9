"""Rules about counts: totals, class shares, split sizes, what a test of n samples can print."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from leukobench.papers.audit.arithmetic import (
    Reading,
    clopper_pearson,
    counts_that_print,
    prints_as,
    smallest_size,
)
from leukobench.papers.audit.findings import AuditFinding, number, percent, printed, rule, select
from leukobench.papers.spec import Paper

if TYPE_CHECKING:
    from leukobench.data.base import Dataset


def _quantity(paper: Paper, terms: list[float | str]) -> tuple[float, float, str]:
    """Sum of the terms, half a printed step of each cell in it, and the place of the first cell."""
    total, slack, place = 0.0, 0.0, ""
    for term in terms:
        if isinstance(term, str):
            sign = -1 if term.startswith("-") else 1
            for cell in select(paper, term.removeprefix("-")):
                total += sign * number(cell)
                slack += cell.step / 2 if cell.unit not in ("count", "number") else 0.0
                place = place or cell.place
        else:
            total += term
    return total, slack, place


@rule()
def sums_agree(
    paper: Paper, *, about: str, quantities: dict[str, list[float | str]]
) -> Iterator[AuditFinding]:
    """The same quantity, stated or added up in several places, must come out the same everywhere.

    A quantity is a list of cells (`TABLE/ROW/COLUMN`, `*` fits any, a leading `-` subtracts) and plain numbers, which
    are added. Differences that rounding of the printed terms can explain are cautions, others contradictions.
    """
    sums = {name: _quantity(paper, terms) for name, terms in quantities.items()}
    values = [total for total, _, _ in sums.values()]
    spread = max(values) - min(values)
    if spread <= 1e-9:
        return
    places = list(dict.fromkeys(place for _, _, place in sums.values() if place))
    yield AuditFinding(
        "sums_agree",
        paper.key,
        "; ".join(places),
        f"{about}: the places disagree",
        "; ".join(f"{name}: {total:.10g}" for name, (total, _, _) in sums.items()),
        "caution"
        if spread <= sum(slack for _, slack, _ in sums.values()) + 1e-9
        else "contradiction",
    )


@rule()
def known_sum(
    paper: Paper, *, about: str, cells: dict[str, list[float]], parts: list[str]
) -> Iterator[AuditFinding]:
    """A printed count that is the sum of the known counts of several parts of a data set says which parts were used.

    `cells` gives for each cell the known count of each of `parts`, in order.
    """
    fits = [(select(paper, ref)[0], counts) for ref, counts in cells.items()]
    if all(abs(number(cell) - sum(counts)) < 1e-9 for cell, counts in fits):
        yield AuditFinding(
            "known_sum",
            paper.key,
            fits[0][0].place,
            f"{about}: the counts are those of {' plus '.join(parts)}",
            "; ".join(
                f"{printed(c)} = {' + '.join(f'{x:.0f}' for x in counts)}" for c, counts in fits
            ),
            "note",
        )


@rule()
def class_shares(
    paper: Paper, *, shares: dict[str, str], n: int, true_counts: dict[str, int]
) -> Iterator[AuditFinding]:
    """Class shares of n samples are counts k/n; the counts they give must be those of the data set.

    `shares` maps a class to the cell with its share, `true_counts` to its number of samples in the data set.
    """
    cells = {name: select(paper, ref)[0] for name, ref in shares.items()}
    counts = {name: round(number(cell) * n) for name, cell in cells.items()}
    if counts == true_counts:
        return
    yield AuditFinding(
        "class_shares",
        paper.key,
        next(iter(cells.values())).place,
        f"The shares are those of {_counted(counts)}, but the data set has {_counted(true_counts)}",
        "; ".join(
            f"{name}: {counts[name]}/{n} = {percent(counts[name] / n, 3)}, printed {printed(cell)}"
            + (
                ""
                if prints_as(counts[name] / n, number(cell), cell.step)
                else " (not its rounding)"
            )
            + "; the data set's "
            f"{true_counts[name]}/{n} = {percent(true_counts[name] / n, 3)}"
            for name, cell in cells.items()
        ),
        "contradiction",
    )


def _counted(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{k} {name}" for name, k in counts.items())


@rule()
def chance_of_separation(
    paper: Paper, *, value: str, genes: int, n: int, true_smaller_class: int
) -> Iterator[AuditFinding]:
    """How many of G random genes separate two classes perfectly in one direction: G / C(n, k).

    k is the size of one class among n samples, so the printed expectation gives away the class sizes that were used.
    """
    cell = select(paper, value)[0]
    target = number(cell)
    expected = {k: genes / math.comb(n, k) for k in range(1, n // 2 + 1)}
    k = min(expected, key=lambda k: abs(math.log(expected[k] / target)))
    if k == true_smaller_class:
        return
    yield AuditFinding(
        "chance_of_separation",
        paper.key,
        cell.place,
        f"The expectation was computed with classes of {k} and {n - k}, not {true_smaller_class} and "
        f"{n - true_smaller_class}",
        f"{genes} / C({n}, {k}) = {expected[k]:.4e}, printed {printed(cell)}; with {true_smaller_class} it is "
        f"{expected[true_smaller_class]:.3e}",
        "contradiction",
    )


@rule()
def drawn_positives(
    paper: Paper,
    *,
    positives: list[str],
    negatives: list[str],
    n: int,
    stated_positive: str,
    counts: dict[str, int],
) -> Iterator[AuditFinding]:
    """How likely a random test set holds so many positives, for each class that "positive" could mean.

    Drawing the test from n samples without replacement makes their number hypergeometric (`scipy.stats.hypergeom`). A
    class under which the printed number is very unlikely (below 1 %) is probably not the positive one.
    `stated_positive` is the class that the paper calls positive.
    """
    from scipy.stats import hypergeom

    k = int(sum(number(c) for c in select(paper, positives)))
    drawn = k + int(sum(number(c) for c in select(paper, negatives)))
    chance = {name: float(hypergeom.pmf(k, n, size, drawn)) for name, size in counts.items()}
    if chance[stated_positive] < 0.01:
        yield AuditFinding(
            "drawn_positives",
            paper.key,
            select(paper, positives)[0].place,
            f"{k} positives among {drawn} test samples hardly fit {stated_positive} as the positive class: either the "
            "class names or the positive class are the wrong way round",
            "; ".join(
                f"chance of exactly {k} {name} ({counts[name]} of {n}): {p:.4f}"
                for name, p in chance.items()
            ),
            "caution",
        )


@rule()
def split_sizes(
    paper: Paper,
    *,
    sizes: dict[str, float | str],
    populations: dict[str, dict[str, int]],
    shares: list[float] = [0.1, 0.15, 0.2, 0.25, 0.3],  # noqa: B006
) -> Iterator[AuditFinding]:
    """Which split gives the printed test sizes: the tool's rounding leaves a fingerprint.

    scikit-learn's `train_test_split` tests the ceiling of share x n and trains on the floor of the rest; stratified, it
    splits each class in proportion. `sizes` are the printed ones: `test` (and `train`), or one a class. `populations`
    are the class counts that the test may have been drawn from. A population that reproduces the sizes exactly is
    named. Drawn by sample, the test shares subjects with the training part where subjects have several samples.
    """
    cells = {name: select(paper, ref)[0] for name, ref in sizes.items() if isinstance(ref, str)}
    wanted = {
        name: int(ref) if not isinstance(ref, str) else int(number(cells[name]))
        for name, ref in sizes.items()
    }
    place = next((c.place for c in cells.values()), "split")
    if "test" in wanted:
        for name, population in populations.items():
            n = sum(population.values())
            for share in shares:
                exact = round(share * n, 9)
                for how, test in {"ceiling": math.ceil(exact), "floor": math.floor(exact)}.items():
                    if test == wanted["test"] and wanted.get("train", n - test) == n - test:
                        yield AuditFinding(
                            "split_sizes",
                            paper.key,
                            place,
                            f"The test has the size of {percent(share, 0)} of {name} drawn sample by sample, not subject "
                            "by subject",
                            f"{test} = {how} of {share:g} x {n}, leaving {n - test}; a stratified draw has "
                            f"{_counted(_stratified(population, test))} in the test",
                            "caution",
                        )
                        break
        return
    n_test = sum(wanted.values())
    drawn = {name: _stratified(population, n_test) for name, population in populations.items()}
    fitting = [name for name, classes in drawn.items() if classes == wanted]
    if fitting:
        yield AuditFinding(
            "split_sizes",
            paper.key,
            place,
            f"The {n_test} evaluated samples are a stratified draw, sample by sample, from {' or '.join(fitting)} only",
            f"{_counted(wanted)} were evaluated; "
            + "; ".join(
                f"{percent(n_test / sum(populations[name].values()), 1)} of {name} "
                f"({sum(populations[name].values())}) would be {_counted(classes)}"
                for name, classes in drawn.items()
            ),
            "caution",
        )


def _stratified(population: Mapping[str, int], n_test: int) -> dict[str, int]:
    """Class counts of a stratified test of n_test samples, as scikit-learn draws it."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    labels = np.repeat(list(population), list(population.values()))
    _, test = train_test_split(labels, test_size=n_test, stratify=labels, random_state=0)
    counts = Counter(test.tolist())
    return {name: counts[name] for name in population}


@rule()
def small_test(
    paper: Paper, *, correct: list[str], n: int, of: int | None = None
) -> Iterator[AuditFinding]:
    """The exact 95 % interval (Clopper-Pearson) of a share of correct answers in a small test.

    `correct` are the cells that count correct answers, n the test's samples, `of` the samples that it was drawn from.
    """
    cells = select(paper, correct)
    k = int(sum(number(c) for c in cells))
    low, high = clopper_pearson(k, n)
    origin = f"; {n} = floor of 0.2 x {of}" if of and n == math.floor(0.2 * of) else ""
    yield AuditFinding(
        "small_test",
        paper.key,
        cells[0].place,
        f"{k} of {n} right leaves room for a true accuracy as low as {percent(low, 1)}",
        f"95 % Clopper-Pearson interval {percent(low, 1)} to {percent(high, 1)}{origin}",
        "caution",
    )


@rule()
def possible_sizes(
    paper: Paper,
    *,
    cells: list[str],
    sizes: list[int],
    also: dict[str, int] = {},  # noqa: B006
) -> Iterator[AuditFinding]:
    """A share of correct answers is some k/n: a printed accuracy that no k/n gives cannot come from n samples.

    Both rounding and cutting off are tried. `sizes` are the test sizes that the paper's data allow, `also` other sizes
    and what they would mean.
    """
    for cell in select(paper, cells):
        value, step = number(cell), cell.step
        readings: list[Reading] = ["rounded", "truncated"]
        possible = [n for n in sizes if any(counts_that_print(value, step, n, r) for r in readings)]
        if possible:
            continue
        smallest = smallest_size(value, step)
        elsewhere = "; ".join(
            f"n = {n} ({meaning}) allows {k[0]}/{n} = {percent(k[0] / n, 3)}"
            for meaning, n in also.items()
            if (k := counts_that_print(value, step, n))
        )
        nearest = (
            f"{percent(value, 3)} of {sizes[0]} is {value * sizes[0]:.1f}; "
            if len(sizes) == 1
            else ""
        )
        yield AuditFinding(
            "possible_sizes",
            paper.key,
            cell.place,
            f"{printed(cell)} cannot be the share of correct answers of any test of {_list(sizes)} samples",
            f"{nearest}no k/n with these n rounds or truncates to it; the smallest n that can is {smallest}"
            + (f"; {elsewhere}" if elsewhere else ""),
            "contradiction",
        )


def _list(numbers: list[int]) -> str:
    return (
        ", ".join(map(str, numbers[:-1])) + f" or {numbers[-1]}"
        if len(numbers) > 1
        else str(numbers[0])
    )


@rule()
def spreadsheet_limit(
    paper: Paper, *, cells: list[str], true_columns: dict[str, int], label_columns: int
) -> Iterator[AuditFinding]:
    """A table with exactly as many columns as a spreadsheet holds (256 or 16,384) was cut off by one.

    `true_columns` are the columns of the sources, `label_columns` how many columns are no features.
    """
    for cell in select(paper, cells):
        for limit in (2**8, 2**14):
            lost = {limit: "", limit - label_columns: f" less {label_columns} columns of labels"}
            if number(cell) in lost and all(c > limit for c in true_columns.values()):
                yield AuditFinding(
                    "spreadsheet_limit",
                    paper.key,
                    cell.place,
                    f"{printed(cell)} features are a spreadsheet's limit of columns{lost[int(number(cell))]}, not the "
                    "number in any source: the files look cut off, and column j then is another gene in every series",
                    f"{limit} = 2^{limit.bit_length() - 1}; the sources have "
                    + ", ".join(f"{n} ({name})" for name, n in true_columns.items()),
                    "contradiction",
                )


@rule()
def oversampling_only_adds(
    paper: Paper, *, before: str, after: str, classes: int
) -> Iterator[AuditFinding]:
    """Oversampling (SMOTE) adds samples: no class may be smaller after it than before.

    `before` and `after` fit the cells of the classes, row by row; `classes` is their number. Where the counts after it
    are all the same, that number is the largest class of what was resampled.
    """
    old = {c.row: c for c in select(paper, before)}
    new = {c.row: c for c in select(paper, after)}
    shrunk = [r for r in old if number(old[r]) > number(new[r])]
    total = sum(
        number(c)
        for c in new.values()
        if c.row in shrunk or number(c) == min(map(number, new.values()))
    )
    level = min(number(c) for c in new.values())
    if shrunk:
        yield AuditFinding(
            "oversampling_only_adds",
            paper.key,
            old[shrunk[0]].place,
            "Classes shrink by oversampling: the counts before and after cannot be of the same rows",
            "; ".join(f"{r}: {printed(old[r])} before, {printed(new[r])} after" for r in shrunk)
            + f"; {total:.0f} = {classes} x {level:.0f}, so {level:.0f} was the largest class of what was resampled",
            "contradiction",
        )


@rule()
def label_order(
    paper: Paper,
    *,
    classes: str,
    but: list[str],
    cells: list[str],
    rest: list[str] = [],  # noqa: B006
) -> Iterator[AuditFinding]:
    """Class numbers are alphabetical: label encoders sort the names, capitals first.

    Names the classes behind numbers that a paper leaves unexplained. `classes` fits the cells whose rows are the class
    names (without the rows in `but`), `cells` those of the columns `class<number>`, `rest` the values printed for all
    other classes.
    """
    names = sorted({c.row for c in select(paper, classes)} - set(but))
    indices = sorted({int(c.column.removeprefix("class")) for c in select(paper, cells)})
    values = {
        i: [printed(c) for c in select(paper, cells) if c.column == f"class{i}"] for i in indices
    }
    yield AuditFinding(
        "label_order",
        paper.key,
        select(paper, cells)[0].place,
        "The numbered classes are " + ", ".join(f"{names[i]} ({i})" for i in indices),
        f"alphabetical order of the {len(names)} class names; printed for them: "
        + "; ".join(f"{names[i]} {', '.join(v)}" for i, v in values.items())
        + (
            "; every value for other classes is 1"
            if rest and all(c.value == 1 for c in select(paper, rest))
            else ""
        ),
        "note",
    )


@rule()
def numbers_for_classes(paper: Paper, *, cells: dict[str, int]) -> Iterator[AuditFinding]:
    """As many numbers as classes: fewer leave open which class a number belongs to.

    `cells` gives for each cell the number of classes that it speaks of.
    """
    for ref, classes in cells.items():
        cell = select(paper, ref)[0]
        given = cell.numbers or ((cell.value,) if cell.value is not None else ())
        if len(given) < classes:
            yield AuditFinding(
                "numbers_for_classes",
                paper.key,
                cell.place,
                f"{cell.keys['row']}: {len(given)} value{'s' * (len(given) != 1)} for {classes} classes",
                f"printed {printed(cell)}" + (f" ({cell.note})" if cell.note else ""),
                "caution",
            )


@rule()
def cited_twice(
    paper: Paper, *, about: str, cells: list[str], own: str | None = None
) -> Iterator[AuditFinding]:
    """One result cited in two places must be one number.

    With `own`, the paper's own result: whether it beats the cited one must not depend on which of them is taken.
    """
    found = select(paper, cells)
    values = [number(c) for c in found]
    if max(values) - min(values) <= max(c.step for c in found) / 2:
        return
    evidence = "; ".join(f"{c.place}: {printed(c)}" for c in found)
    claim = ""
    if own is not None:
        cell = select(paper, own)[0]
        evidence += f"; own result {printed(cell)}"
        if min(values) < number(cell) < max(values):
            claim = ", and the paper's own result beats only the lower one"
    yield AuditFinding(
        "cited_twice",
        paper.key,
        "; ".join(dict.fromkeys(c.place for c in found)),
        f"{about} is cited with different values{claim}",
        evidence,
        "contradiction",
    )


@rule()
def other_test_set(
    paper: Paper, *, cell: str, parts: dict[str, int], own: str, own_test: str
) -> Iterator[AuditFinding]:
    """A compared study's number of images may give away that it was tested on another set.

    `parts` are the sizes of the data set's official parts, `own` the paper's own result beside it, `own_test` what that
    was tested on.
    """
    other = select(paper, cell)[0]
    images = int(other.keys["images"])
    part = next((name for name, n in parts.items() if n == images), None)
    if part is not None:
        yield AuditFinding(
            "other_test_set",
            paper.key,
            other.place,
            f"{other.keys['study']} was tested on {part}; its {printed(other)} cannot be compared with "
            f"{printed(select(paper, own)[0])} on {own_test}",
            f"{images} images are exactly {part}",
            "caution",
        )


@rule()
def majority_class(
    paper: Paper, *, counts: dict[str, int], cells: list[str]
) -> Iterator[AuditFinding]:
    """What always guessing the largest class scores, beside the lowest and highest printed accuracy."""
    n, most = sum(counts.values()), max(counts, key=lambda c: counts[c])
    found = sorted(select(paper, cells), key=number)
    yield AuditFinding(
        "majority_class",
        paper.key,
        found[0].place,
        f"Always answering {most} is right in {percent(counts[most] / n)}; the printed accuracies run from "
        f"{printed(found[0])} to {printed(found[-1])}",
        f"{counts[most]}/{n}",
        "note",
    )


@rule()
def class_counts(
    paper: Paper, *, data: str, cells: dict[str, str], datasets: Mapping[str, Dataset]
) -> Iterator[AuditFinding]:
    """The printed numbers of samples against the data set itself, where it is at hand and complete.

    `cells` maps a class name, or `all`, to the cell with its count.
    """
    if data not in datasets:
        return
    labels = datasets[data].samples["label"]
    for name, ref in cells.items():
        cell = select(paper, ref)[0]
        counted = len(labels) if name == "all" else int((labels == name).sum())
        if counted != round(number(cell)):
            yield AuditFinding(
                "class_counts",
                paper.key,
                cell.place,
                f"{printed(cell)} samples of {name} are printed, the data set {data} has {counted}",
                f"counted in {len(labels)} samples",
                "contradiction",
                float(counted),
                "verified on data",
            )
