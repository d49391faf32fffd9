"""The audit: it finds what is known to contradict in the five papers, and nothing in consistent numbers."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from leukobench.data.families.expression import expression_dataset
from leukobench.errors import LeukoBenchError, PaperError
from leukobench.papers.audit import RULES, AuditFinding, audit_numbers, audit_paper, to_markdown
from leukobench.papers.audit.arithmetic import (
    AllMatrices,
    Matrix,
    counts_that_print,
    gaussian_outside_unit_interval,
    macro_f1_near,
    prints_as,
    share_of_grid,
    smallest_size,
)
from leukobench.papers.spec import Paper, load_paper

REPOSITORY = Path(__file__).resolve().parents[2]
KEYS = ("neuraldesigner", "kandi", "rai", "fata", "kadhim")


@pytest.fixture(scope="module")
def findings() -> dict[str, list[AuditFinding]]:
    return {
        key: audit_paper(load_paper(REPOSITORY / "conf" / "paper" / f"{key}.yaml")) for key in KEYS
    }


def load(tmp_path: Path, text: str) -> Paper:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_paper(path)


OWN = """\
key: own
version: 1
title: Own
citation: none
source: invented
tables:
  - id: t
    title: Scores
    place: Table 1
    kind: cited
    columns:
      - {id: accuracy, metric: accuracy}
      - {id: precision, metric: precision, averaging: binary}
      - {id: recall, metric: recall, averaging: binary}
      - {id: f1, metric: f1, averaging: binary}
    rows:
      - {id: A, cells: [80.0%, 0.80, 0.80, 0.80]}
      - {id: B, cells: [90.0%, 0.90, 0.70, 0.79]}
      - {id: mean, mean_of: [A, B], cells: {accuracy: 85.0%}}
"""

# (paper, rule, what finding and evidence must hold): every finding of the arithmetic audit that printed numbers show.
KNOWN = [
    (
        "neuraldesigner",
        "class_shares",
        ["23 ALL and 49 AML", "47 ALL and 25 AML", "31.944", "68.056"],
    ),
    ("neuraldesigner", "chance_of_separation", ["23 and 49", "1.8308e-15", "4.670e-16"]),
    ("neuraldesigner", "drawn_positives", ["hardly fit AML", "0.0052", "0.231"]),
    ("neuraldesigner", "small_test", ["76.8 %", "14 = floor of 0.2 x 72"]),
    ("neuraldesigner", "sums_agree", ["1.0001"]),
    ("neuraldesigner", "error_gap", ["6.0 times", "0.233"]),
    ("kandi", "sums_agree", ["627", "623", "635"]),
    ("kandi", "sums_agree", ["281", "279"]),
    ("kandi", "sums_agree", ["105", "103"]),
    ("kandi", "sums_agree", ["GSE71449", "Table 2: 4", ": 3"]),
    ("kandi", "spreadsheet_limit", ["16384 = 2^14"]),
    ("kandi", "spreadsheet_limit", ["16382", "less 2 columns"]),
    (
        "kandi",
        "oversampling_only_adds",
        ["normal: 103 before, 79 after", "CLL: 81 before", "1027 = 13 x 79"],
    ),
    ("kandi", "possible_sizes", ["96.6%", "199/206 = 96.602"]),
    ("kandi", "mixture_share", ["v = 0.198", "0.5605 (fits)", "0.5401 (does not fit)"]),
    ("kandi", "reconstruction_floor", ["0.5753", "0.521 to 0.516"]),
    ("kandi", "label_order", ["AML (0), B-CELL_ALL (2), normal (12)", "other classes is 1"]),
    ("kandi", "numbers_for_classes", ["CNN: 2 values for 3 classes"]),
    ("kandi", "numbers_for_classes", ["MLP: 1 value for 2 classes"]),
    ("kandi", "averaging_implied", ["weighted averages", "4 of 4"]),
    ("kandi", "averaging_implied", ["3 of 4", "MLP: accuracy 94%, recall 95%"]),
    ("kandi", "f1_not_harmonic", ["MLP", "printed 94%, outside precision and recall"]),
    ("rai", "known_sum", ["12,528 = 10661 + 1867", "8491 = 7272 + 1219", "4037 = 3389 + 648"]),
    ("rai", "confusion_matrices", ["1091", "509", "6 of 6", "4 of 6"]),
    ("rai", "confusion_matrices", ["named the wrong way round"]),
    ("rai", "confusion_matrices", ["LeNet: FN is printed 19 and must be 190"]),
    ("rai", "confusion_matrices", ["CNN: TN is not printed and must be 356"]),
    ("rai", "split_sizes", ["1091 ALL and 509 normal", "1084 ALL and 516 normal", "15.0 %"]),
    (
        "rai",
        "scores_from_counts",
        ["changed places", "86.81 %", "99.54 %", "92.74 %", "67.6 %", "83.6 %"],
    ),
    (
        "rai",
        "scores_from_counts",
        ["cut off, not rounded", "85.1875", "87.3750", "89.3750", "81.3750"],
    ),
    ("rai", "scores_from_counts", ["88.975%", "1423.6", "89.3750"]),
    ("rai", "majority_class", ["68.19"]),
    (
        "rai",
        "hidden_by_accuracy",
        ["CNN is number 3, not 5", "71.2", "77.0", "80.8", "83.6", "78.3", "75.7"],
    ),
    (
        "fata",
        "split_sizes",
        ["2133 = ceiling of 0.2 x 10661", "leaving 8528", "1455 ALL and 678 normal"],
    ),
    (
        "fata",
        "impossible_triples",
        ["29 as macro", "13 as weighted", "23 as values of ALL", "24 as values of normal"],
    ),
    ("fata", "impossible_triples", ["table3, row 30: F1 0.82 is impossible", "1395 to 1515"]),
    ("fata", "impossible_triples", ["table4, row 10: F1 0.73 is impossible"]),
    ("fata", "impossible_triples", ["table5, row 30: F1 0.79 is impossible"]),
    ("fata", "f1_not_harmonic", ["row 10: 2PR/(P+R) = 0.807, printed 0.79"]),
    ("fata", "totals_are_means", ["recall 0.81 is not the mean", "0.8037"]),
    ("fata", "totals_are_means", ["called a total", "mean 0.8075, printed 0.81"]),
    ("fata", "accuracy_of_triples", ["84% does not go with table4, row 10", "0.827 to 0.835"]),
    ("fata", "accuracy_of_triples", ["86% hardly goes with table4, row 20", "0.852 to 0.855"]),
    ("fata", "accuracy_of_triples", ["82.00% hardly goes with table6, row 80", "0.811 to 0.816"]),
    ("fata", "largest", ["81.70%", "81.81%", "row 80"]),
    (
        "fata",
        "rising",
        ["Adam falls to row 40: 89.74% to 89.45%", "RMSprop falls to row 60: 89.83% to 89.69%"],
    ),
    ("fata", "common_denominator", ["All 32", "1/8528", "0.006", "(6822): 20 of 32"]),
    ("fata", "cited_twice", ["83,30%", "87.90%", "87.00%", "beats only the lower one"]),
    ("fata", "other_test_set", ["[22]", "preliminary test", "85.11%", "1867"]),
    ("fata", "decay_schedule", ["267 steps", "8.6e-05 after 10", "2.2e-05 after 100"]),
    (
        "kadhim",
        "joint_counts",
        ["18/19 truncated", "175/177 rounded", "88/89 truncated", "n = 108", "49 and 59"],
    ),
    ("kadhim", "accuracy_between", ["less than 21 %"]),
    ("kadhim", "one_vs_rest_reading", ["5 to 6 classes", "0.9868", "0.9789", "0.9895", "0.9824"]),
]


class TestFivePapers:
    @pytest.mark.parametrize(
        ("key", "rule", "said"), KNOWN, ids=[f"{k}-{r}-{s[0][:20]}" for k, r, s in KNOWN]
    )
    def test_a_known_contradiction_is_found(
        self, findings: dict[str, list[AuditFinding]], key: str, rule: str, said: list[str]
    ) -> None:
        texts = [f"{f.finding} || {f.evidence}" for f in findings[key] if f.rule == rule]
        assert any(all(part in text for part in said) for text in texts), texts

    def test_accuracies_that_fit_their_rows_are_not_blamed(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        texts = [f.finding for f in findings["fata"] if f.rule == "accuracy_of_triples"]
        assert not any("table3, row 10" in t or "table3, row 20" in t for t in texts)

    def test_only_three_of_32_rows_are_impossible(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        assert sum("is impossible" in f.finding for f in findings["fata"]) == 3

    def test_a_misprint_is_corrected_where_the_value_follows(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        corrected = {f.finding: f.corrected for f in findings["rai"] if f.corrected is not None}
        assert corrected["LeNet: FN is printed 19 and must be 190"] == 190
        assert corrected["CNN: TN is not printed and must be 356"] == 356
        assert 0.89375 in corrected.values()

    def test_without_data_nothing_claims_to_be_verified_on_them(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        assert {f.status for fs in findings.values() for f in fs} == {"computed"}

    def test_every_rule_is_explained_and_described_in_the_docs(self) -> None:
        text = (REPOSITORY / "docs" / "audit.md").read_text(encoding="utf-8")
        for name, rule in RULES.items():
            assert len(rule.explanation) > 40, name
            assert f"**{name}**" in text, name


@pytest.mark.real_data
class TestRealData:
    def test_the_copy_of_golub_that_was_used_is_recognised(self, shared_data: Path) -> None:
        from leukobench.data.sources.golub import Golub, GolubCorrupt

        folder = shared_data / "golub"
        datasets = {
            "golub": Golub(folder).load(),
            "golub_corrupt": GolubCorrupt(folder / "corrupt_copy").load(),
        }
        paper = load_paper(REPOSITORY / "conf" / "paper" / "neuraldesigner.yaml")
        found = {f.rule: f for f in audit_paper(paper, datasets) if f.status == "verified on data"}
        assert (
            "36 distinct ones: one occurs 20 times, one occurs 18 times"
            in found["duplicate_rows"].finding
        )
        assert "23 ALL, 13 AML" in found["duplicate_rows"].evidence
        assert "52.8 %" in found["duplicate_rows"].evidence
        assert "8.6 distinct" in found["duplicate_rows"].evidence
        genes = found["perfect_genes"].evidence
        assert "golub_corrupt (72 samples): 760, 1882, 2288, 4847, 6041;" in genes
        assert "golub (72 samples): none" in genes
        assert "train part of golub (38): 4847;" in genes
        assert "4847 in golub: AUC 0.979, 3 errors" in genes
        assert "2288 in golub: AUC 0.931, 4 errors" in genes
        assert "separately" in found["scaled_by_parts"].finding
        assert "largest difference 5e-07" in found["copied_rows"].evidence
        assert "no rows carry another class" in found["copied_rows"].evidence


class TestRules:
    def test_consistent_numbers_are_left_alone(self, tmp_path: Path) -> None:
        assert audit_paper(load(tmp_path, OWN)) == []

    @pytest.mark.parametrize(
        ("old", "new", "rule", "corrected"),
        [
            ("0.90, 0.70, 0.79", "0.90, 0.70, 0.85", "f1_not_harmonic", 0.7875),
            ("{accuracy: 85.0%}", "{accuracy: 86.0%}", "totals_are_means", 0.85),
            ("80.0%, 0.80", "801%, 0.80", "values_in_range", None),
        ],
    )
    def test_a_new_paper_is_audited_without_being_told_how(
        self, tmp_path: Path, old: str, new: str, rule: str, corrected: float | None
    ) -> None:
        found = [f for f in audit_paper(load(tmp_path, OWN.replace(old, new))) if f.rule == rule]
        assert [f.severity for f in found] == ["contradiction"]
        assert found[0].corrected == (
            None if corrected is None else pytest.approx(corrected, abs=1e-9)
        )

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{rule: rowsums}", "no audit rule 'rowsums'; rules are sums_agree"),
            ("{rule: possible_sizes, cells: [t/A/accuracy]}", "sizes: Field required"),
            (
                "{rule: possible_sizes, cells: [t/A/accuracy], sizes: [9], size: 3}",
                "size: Extra inputs",
            ),
            (
                "{rule: possible_sizes, cells: [t/Z/accuracy], sizes: [9]}",
                "no published cell fits 't/Z/accuracy'",
            ),
        ],
    )
    def test_a_wrong_audit_line_is_told_with_file_and_line(
        self, tmp_path: Path, line: str, message: str
    ) -> None:
        paper = load(tmp_path, f"{OWN}audit:\n  - {line}\n")
        with pytest.raises(PaperError, match=re.escape(message)) as caught:
            audit_paper(paper)
        assert re.search(r"own\.yaml, line 2[01]", str(caught.value))

    def test_an_accuracy_is_checked_against_the_sizes_that_the_paper_states(
        self, tmp_path: Path
    ) -> None:
        line = "  - {rule: possible_sizes, cells: [t/B/accuracy], sizes: [%d]}\n"
        assert audit_paper(load(tmp_path, f"{OWN}audit:\n{line % 20}")) == []
        (found,) = audit_paper(load(tmp_path, f"{OWN}audit:\n{line % 13}"))
        assert found.severity == "contradiction"
        assert "n that can is 10" in found.evidence

    def test_matrices_named_as_they_should_be_are_not_called_swapped(self, tmp_path: Path) -> None:
        text = """\
key: own
version: 1
title: Own
citation: none
source: invented
tables:
  - id: m
    title: Matrices
    kind: descriptive
    unit: count
    columns: [{id: tp}, {id: fn}, {id: fp}, {id: tn}]
    rows:
      - {id: A, cells: [40, 10, 5, 25]}
      - {id: B, cells: [45, 5, 10, 20]}
      - {id: C, cells: [30, 20, 3, 72]}
audit:
  - {rule: confusion_matrices, table: m, named: {tp: tp, fn: fn, fp: fp, tn: tn}}
"""
        found = audit_paper(load(tmp_path, text))
        assert not any("wrong way round" in f.finding for f in found)
        # C's second row has 75 of 30 samples: without an accuracy both repairs are open, and 3 + 72 cannot keep 72.
        assert [f.corrected for f in found if "must be" in f.finding] == [27.0]

    def test_data_rules_find_nothing_in_clean_data_and_pass_over_simulated_ones(
        self, tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(0)
        values = rng.normal(size=(20, 30))
        labels = ["ALL"] * 12 + ["AML"] * 8
        paper = load(
            tmp_path,
            OWN
            + """\
audit:
  - {rule: duplicate_rows, data: d, test: 4, train: 12, place: Data}
  - {rule: scaled_by_parts, data: d, parts: [10, 10], place: Data}
""",
        )
        ids = [str(i) for i in range(20)]
        clean = expression_dataset(
            "d", values, [str(g) for g in range(30)], ids, labels, ["ALL", "AML"]
        )
        assert audit_paper(paper, {"d": clean}) == []
        values[1] = values[0]
        for simulated, expected in ((False, ["duplicate_rows"]), (True, [])):
            twice = expression_dataset(
                "d",
                values,
                [str(g) for g in range(30)],
                ids,
                labels,
                ["ALL", "AML"],
                simulated=simulated,
            )
            assert [f.rule for f in audit_paper(paper, {"d": twice})] == expected


class TestOwnNumbers:
    def test_truncation_is_told_from_rounding(self) -> None:
        said = [f.finding for f in audit_numbers((1086, 5, 165, 344), accuracy="89.3")]
        assert "accuracy is cut off, not rounded" in said

    def test_scores_of_the_matrix_are_not_blamed(self) -> None:
        found = audit_numbers(
            (955, 136, 230, 279), accuracy="77.1", recall="87.5%", specificity=0.548
        )
        assert {f.severity for f in found} <= {"note", "caution"}
        assert any("68.19" in f.finding for f in found)

    def test_precision_and_recall_that_changed_places_are_recognised(self) -> None:
        found = audit_numbers((1086, 5, 165, 344), precision="99.5", recall="86.8", f1="92.7")
        assert any("changed places" in f.finding for f in found)

    def test_a_score_that_is_not_the_matrix_s_is_corrected(self) -> None:
        (found,) = (
            f for f in audit_numbers((5, 0, 0, 9), recall=0.8) if f.severity == "contradiction"
        )
        assert found.corrected == 1.0

    def test_an_accuracy_that_no_test_of_the_size_allows_is_found(self) -> None:
        found = audit_numbers(accuracy="88.975", n=1600)
        assert [f.rule for f in found] == ["possible_sizes"]
        assert audit_numbers(accuracy="89.375", n=1600)[0].severity != "contradiction"

    def test_scores_that_no_matrix_has_are_found(self) -> None:
        found = audit_numbers(precision="0.81", recall="0.79", f1="0.73", n=2133, positives=1455)
        assert any(f.rule == "impossible_triples" and f.severity == "contradiction" for f in found)
        possible = audit_numbers(precision="0.86", recall="0.76", f1="0.79", n=2133, positives=1455)
        assert any("macro averages" in f.finding for f in possible)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"confusion": (1, 2, 3)},
            {"confusion": (1, -2, 3, 4)},
            {"accuracy": "good"},
            {"accuracy": "101%"},
        ],
    )
    def test_numbers_that_are_none_are_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(LeukoBenchError):
            audit_numbers(**wrong)  # type: ignore[arg-type]

    def test_findings_render_as_a_table_with_contradictions_first(self) -> None:
        text = to_markdown(audit_numbers((1086, 5, 165, 344), recall=0.5, accuracy="89.3"), "Mine")
        rows = [
            line
            for line in text.splitlines()
            if line.startswith("| ") and not line.startswith("| ---")
        ][1:]
        assert text.startswith("## Mine")
        assert rows[0].startswith("| contradiction")
        assert all(row.count(" | ") == 5 for row in rows)
        assert "Nothing contradicts" in to_markdown([])


class TestArithmetic:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 60), st.integers(1, 60), st.data())
    def test_scores_of_all_matrices_are_scikit_learn_s(
        self, positives: int, negatives: int, data: st.DataObject
    ) -> None:
        tp, tn = data.draw(st.integers(0, positives)), data.draw(st.integers(0, negatives))
        truth = np.repeat([1, 0], [positives, negatives])
        called = np.repeat([1, 0, 1, 0], [tp, positives - tp, negatives - tn, tn])
        every = AllMatrices(positives, negatives)
        for averaging, theirs in (
            ("macro", "macro"),
            ("weighted", "weighted"),
            ("positive", "binary"),
        ):
            expected = precision_recall_fscore_support(
                truth, called, average=theirs, zero_division=0
            )[:3]
            ours = [every.score(m, averaging)[tp, tn] for m in ("precision", "recall", "f1")]
            assert ours == pytest.approx(list(expected))
        single = Matrix(tp, positives - tp, negatives - tn, tn).scores()
        assert every.accuracy[tp, tn] == pytest.approx(single["accuracy"])
        assert every.score("f1", "positive")[tp, tn] == pytest.approx(single["f1"])

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 3000), st.data())
    def test_every_share_can_be_printed_by_its_own_size(self, n: int, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, n))
        step = data.draw(st.sampled_from([0.1, 0.01, 0.001, 0.0001]))
        assert k in counts_that_print(round(k / n / step) * step, step, n)
        assert k in counts_that_print(math.floor(k / n / step + 1e-9) * step, step, n, "truncated")

    def test_the_narrow_search_finds_what_trying_everything_finds(self) -> None:
        every = AllMatrices(145, 68)
        for recall, precision in ((0.76, 0.86), (0.82, 0.85), (0.70, 0.75)):
            mask = every.that_print(
                {"recall": (recall, 0.01), "precision": (precision, 0.01)}, "macro"
            )
            f1 = every.score("f1", "macro")[mask]
            assert macro_f1_near(145, 68, (recall, 0.01), (precision, 0.01)) == pytest.approx(
                (f1.min(), f1.max())
            )
        assert macro_f1_near(145, 68, (0.99, 0.01), (0.5, 0.01)) is None

    def test_known_numbers(self) -> None:
        assert smallest_size(0.9473, 1e-4, limit=400) is None
        assert smallest_size(0.9473, 1e-4, "truncated") == 19
        assert share_of_grid(1e-4, 8528) == pytest.approx(0.853, abs=0.001)
        assert gaussian_outside_unit_interval() == pytest.approx(0.5753, abs=5e-5)
        x = np.random.default_rng(0).normal(size=1_000_000)
        assert gaussian_outside_unit_interval() == pytest.approx(
            ((x - x.clip(0, 1)) ** 2).mean(), abs=0.003
        )
        assert prints_as(0.851875, 0.851, 0.001, "truncated")
        assert not prints_as(0.851875, 0.851, 0.001)


def test_the_audit_imports_nothing_heavy() -> None:
    code = (
        "import sys, leukobench.papers.audit;"
        "print([m for m in ('pandas', 'sklearn', 'scipy', 'torch', 'hydra', 'rich') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_example_of_the_docs_is_a_whole_paper(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "add-a-paper.md").read_text(encoding="utf-8")
    example, _sweep = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    assert 20 <= len(example.splitlines()) <= 28
    path = tmp_path / "doe.yaml"
    path.write_text(example, encoding="utf-8")
    paper = load_paper(path)
    assert [c.printed for c in paper.published()] == ["91.5%", "0.80", "88%"]
    cell = paper.cell("table2/VGG16/recall")
    assert cell.overrides("leak_free") == ("model=vgg16", "protocol=leak_free", "epochs=10")
    assert audit_paper(paper) == []
    # The error that the page shows is the one that the example gives.
    path.write_text(example.replace("model=vgg16", "modle=vgg16"), encoding="utf-8")
    with pytest.raises(
        PaperError,
        match=r"line 22 \(tables.0.rows.0.overrides.0\): 'modle' is neither a config group",
    ):
        load_paper(path)
