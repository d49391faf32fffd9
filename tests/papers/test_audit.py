"""The audit: it finds what is known to contradict in the five papers, and nothing in consistent
numbers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from leukobench.data.families.expression import expression_dataset
from leukobench.errors import PaperError
from leukobench.papers.audit import AuditFinding, audit_csv, audit_numbers, audit_paper
from leukobench.papers.spec import Paper, load_paper
from leukobench.report.audit import AuditReport, html, markdown

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

# (paper, severity, what the finding, its evidence and the value that mends it must say)
KNOWN = [
    ("neuraldesigner", "contradiction", ["23 ALL and 49 AML", "47 ALL", "31.944", "68.056"]),
    ("neuraldesigner", "contradiction", ["23 and 49", "1.8308e-15", "4.670e-16"]),
    ("neuraldesigner", "caution", ["hardly fit AML", "0.0052", "0.2313"]),
    ("neuraldesigner", "caution", ["76.8 %", "14 = floor of 0.2 x 72"]),
    ("neuraldesigner", "caution", ["class shares", "1.0001"]),
    ("neuraldesigner", "caution", ["6.0 times", "0.233"]),
    ("kandi", "contradiction", ["627", "623", "635"]),
    ("kandi", "contradiction", ["281", "279"]),
    ("kandi", "contradiction", ["105", "103"]),
    ("kandi", "contradiction", ["GSE71449", "Table 2: 4", "Table 3: 3"]),
    ("kandi", "contradiction", ["16384 = 2^14", "columns of labels"]),
    ("kandi", "contradiction", ["CLL: 81 before", "normal: 103 before", "1027 = 13 x 79"]),
    ("kandi", "hint", ["199/206 = 96.602%", "0 sizes fit"]),
    ("kandi", "hint", ["v = 0.198"]),
    ("kandi", "caution", ["0.5753", "0.521 to 0.516"]),
    ("kandi", "caution", ["2 values for 3 classes"]),
    ("kandi", "caution", ["MLP: recall differs from accuracy"]),
    ("kandi", "hint", ["weighted", "4 of 4"]),
    ("rai", "hint", ["12,528 = 10661 + 1867"]),
    ("rai", "contradiction", ["named the wrong way round", "1091, 1091", "1185, 1316"]),
    ("rai", "contradiction", ["row LeNet", "FP 19", "FP would have to be 190", "FP 190"]),
    ("rai", "hint", ["CNN: TN is not printed and must be 356"]),
    ("rai", "caution", ["1091 ALL and 509", "1084 and 516"]),
    ("rai", "contradiction", ["row AlexNet", "exchanging precision and recall"]),
    ("rai", "hint", ["cut off, not rounded", "85.1875"]),
    ("rai", "contradiction", ["88.975%", "1423.6"]),
    ("rai", "contradiction", ["two values", "89.375"]),
    ("rai", "caution", ["CNN is number 3, not 5", "71.2", "77.0", "80.8", "83.6", "78.3", "75.7"]),
    ("fata", "caution", ["2133 = ceiling of 0.2 x 10661", "leaving 8528", "1455 ALL and 678"]),
    ("fata", "contradiction", ["table4, row 10", "f1 0.73"]),
    ("fata", "contradiction", ["table5, row 30", "f1 0.79"]),
    ("fata", "hint", ["recall 0.81 is not the mean", "0.80375"]),
    ("fata", "hint", ["called a total", "mean 0.8075, printed 0.81"]),
    ("fata", "contradiction", ["81.70%", "81.81%"]),
    ("fata", "contradiction", ["89.74% to 89.45%", "89.83% to 89.69%"]),
    ("fata", "caution", ["32 of 32", "0.006", "(6822) 20"]),
    ("fata", "caution", ["[22]", "preliminary test", "85.11%", "1867"]),
    ("fata", "hint", ["8.6e-05 after 10", "2.2e-05 after 100"]),
    ("kadhim", "caution", ["18/19 = 94.7368%", "88/89", "108"]),
    ("kadhim", "hint", ["less than 21 %"]),
    ("kadhim", "caution", ["5 to 6 classes", "0.9868", "0.9789", "0.9895", "0.9824"]),
]


class TestFivePapers:
    @pytest.mark.parametrize(
        ("key", "severity", "said"), KNOWN, ids=[f"{k}-{s[0][:20]}" for k, _, s in KNOWN]
    )
    def test_what_is_known_is_found(
        self, findings: dict[str, list[AuditFinding]], key: str, severity: str, said: list[str]
    ) -> None:
        texts = [
            f"{f.finding} || {f.evidence} || {f.corrected}"
            for f in findings[key]
            if f.severity == severity
        ]
        assert any(all(part in text for part in said) for text in texts), texts

    @pytest.mark.parametrize(
        ("key", "about", "explained"),
        [
            ("fata", "table3, row 30", "weighted averages"),
            ("kandi", "accuracy of the hybrid", "not an impossibility"),
            ("fata", "study [10]", "which the paper does not say"),
            ("fata", "table3, row 100", "zeros at the end"),
        ],
    )
    def test_a_reading_that_explains_a_finding_demotes_it(
        self, findings: dict[str, list[AuditFinding]], key: str, about: str, explained: str
    ) -> None:
        (found,) = (f for f in findings[key] if about in f.finding)
        assert found.severity != "contradiction"
        assert explained in found.reading

    def test_other_rows_of_the_tables_are_left_alone(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        rows = [f.finding for f in findings["fata"] if f.rule in ("scores", "test set")]
        assert len(rows) == 4

    def test_without_data_nothing_claims_to_be_verified_on_them(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        assert {f.status for fs in findings.values() for f in fs} == {"computed", "stated"}

    def test_a_report_stands_alone_and_its_lines_can_be_recomputed(
        self, findings: dict[str, list[AuditFinding]]
    ) -> None:
        report = AuditReport("Rai", findings["rai"], citation="Rai HM et al.")
        page, text = html([report]), markdown([report])
        assert "http" not in page
        assert "FP 190" in page
        assert text.startswith("## Rai")
        codes = [f.recompute for f in findings["rai"] if f.recompute]
        assert len(codes) >= 8
        for code in codes[3:]:
            assert len(code.splitlines()) <= 3
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.stdout.strip() in ("True", "[]"), (code, done.stderr)


@pytest.mark.real_data
def test_the_copy_of_golub_that_was_used_is_recognised(shared_data: Path) -> None:
    from leukobench.data.sources.golub import Golub, GolubCorrupt

    folder = shared_data / "golub"
    datasets = {
        "golub": Golub(folder).load(),
        "golub_corrupt": GolubCorrupt(folder / "corrupt_copy").load(),
    }
    paper = load_paper(REPOSITORY / "conf" / "paper" / "neuraldesigner.yaml")
    found = [f for f in audit_paper(paper, datasets) if f.status == "verified on data"]
    text = " ".join(f"{f.finding} {f.evidence}" for f in found)
    assert len(found) == 4
    assert "36 distinct ones: one occurs 20 times, one 18 times" in text
    assert "23 ALL, 13 AML" in text
    assert "52.8%" in text
    assert "8.6 distinct" in text
    assert "copy: 760, 1882, 2288, 4847, 6041; of the true 72 samples: 0" in text
    assert "part: 4847; AUC in the true data 0.979 and 0.931" in text
    assert "5e-07" in text


@pytest.mark.parametrize("key", ["golub1999", "pansombut", "boldu"])
def test_papers_without_contradictions_have_none(key: str) -> None:
    found = audit_paper(load_paper(REPOSITORY / "conf" / "paper" / f"{key}.yaml"))
    assert found
    assert {f.severity for f in found} <= {"caution", "hint"}


def test_a_mean_of_one_class_is_checked_in_its_column(tmp_path: Path) -> None:
    text = (REPOSITORY / "conf" / "paper" / "pansombut.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pansombut.yaml"
    path.write_text(text.replace("70.22 ± 5.66%", "72.22 ± 5.66%"), encoding="utf-8")
    (found,) = (f for f in audit_paper(load_paper(path)) if f.rule == "mean")
    assert found.severity == "contradiction"
    assert found.corrected == "sensitivity 70.221 %"


class TestOwnPaper:
    def test_consistent_numbers_are_left_alone(self, tmp_path: Path) -> None:
        assert audit_paper(load(tmp_path, OWN)) == []

    @pytest.mark.parametrize(
        ("old", "new", "corrected"),
        [
            ("0.90, 0.70, 0.79", "0.90, 0.70, 0.85", "f1 0.78"),
            ("{accuracy: 85.0%}", "{accuracy: 86.0%}", "accuracy 85 %"),
            ("80.0%, 0.80", "801%, 0.80", "accuracy"),
        ],
    )
    def test_a_new_paper_is_audited_without_being_told_how(
        self, tmp_path: Path, old: str, new: str, corrected: str
    ) -> None:
        found = audit_paper(load(tmp_path, OWN.replace(old, new)))
        text = " ".join(f"{f.corrected} {f.evidence}" for f in found)
        assert "contradiction" in {f.severity for f in found}
        assert corrected in text or "would have to be" in text

    def test_an_accuracy_is_checked_against_the_size_that_the_paper_states(
        self, tmp_path: Path
    ) -> None:
        sized = OWN.replace("{id: B,", "{id: B, size: 100,")
        assert audit_paper(load(tmp_path, sized)) == []
        found = audit_paper(load(tmp_path, sized.replace("100", "13")))
        assert any("of 13 is" in f.evidence for f in found)

    def test_deviations_are_checked_against_their_means_and_folds(self, tmp_path: Path) -> None:
        text = OWN.replace("80.0%, 0.80", "80.0 ± 60.0%, 0.80")
        text = text.replace("kind: cited", "kind: cited\n    folds: 5")
        found = audit_paper(load(tmp_path, text))
        assert any("standard deviation of accuracy 60.0%" in f.finding for f in found)

    @pytest.mark.parametrize(
        ("check", "message"),
        [
            ('cell("t/Z/f1") > 0', "no published cell fits 't/Z/f1'"),
            ('cell("t/A/f1") > 1', "the finding does not hold"),
            ("open(1)", "there is no function 'open', only cell, cells"),
            ("(1).real", "is none of numbers, cells, operators, functions"),
            ("2 ** 9999", "an exponent is above 1000"),
        ],
    )
    def test_a_formula_that_is_wrong_is_told_with_file_and_line(
        self, tmp_path: Path, check: str, message: str
    ) -> None:
        fact = f"findings:\n  - {{finding: F, place: P, evidence: E, severity: hint, check: '{check}'}}\n"
        with pytest.raises(PaperError, match=re.escape(message)) as caught:
            audit_paper(load(tmp_path, OWN + fact))
        assert re.search(r"own\.yaml, line 21", str(caught.value))

    def test_facts_about_data_are_passed_over_for_clean_and_simulated_ones(
        self, tmp_path: Path
    ) -> None:
        fact = """\
findings:
  - finding: Copies
    place: Data
    severity: contradiction
    data: [d]
    check: len(copies("d")) < samples("d")
    evidence: '{copies("d"):d}'
"""
        paper = load(tmp_path, OWN + fact)
        values = np.random.default_rng(0).normal(size=(20, 30))
        for copied, simulated, expected in (
            (False, False, 0), (True, True, 0), (True, False, 1),
        ):  # fmt: skip
            values[1] = values[0] if copied else values[1]
            dataset = expression_dataset(
                "d",
                values,
                [str(g) for g in range(30)],
                [str(i) for i in range(20)],
                ["ALL"] * 12 + ["AML"] * 8,
                ["ALL", "AML"],
                simulated=simulated,
            )
            assert len(audit_paper(paper, {"d": dataset})) == expected


class TestOwnNumbers:
    def test_scores_that_no_class_split_allows_are_found(self) -> None:
        (found,) = audit_numbers(
            n=2133, accuracy="85.7", precision="65.0", recall="89.3", specificity="77.9"
        )
        assert found.severity == "contradiction"
        assert "any class split" in found.finding
        assert "precision would have to be 89.4" in found.evidence

    def test_the_value_that_mends_them_makes_them_possible(self) -> None:
        numbers = {"accuracy": "85.7", "recall": "89.3", "specificity": "77.9"}
        assert audit_numbers(n=2133, precision="89.7", **numbers) == []

    def test_truncation_is_told_from_rounding(self) -> None:
        (found,) = audit_numbers(confusion=(1086, 5, 165, 344), accuracy="89.3")
        assert found.severity == "hint"
        assert "cut off" in found.reading

    def test_scores_of_the_matrix_are_not_blamed(self) -> None:
        matrix = (955, 136, 230, 279)
        assert (
            audit_numbers(confusion=matrix, accuracy="77.1", recall="87.5%", specificity=0.548)
            == []
        )

    def test_precision_and_recall_that_changed_places_are_recognised(self) -> None:
        (found,) = audit_numbers(
            confusion=(1086, 5, 165, 344), precision="99.5", recall="86.8", f1="92.7"
        )
        assert "exchanging precision and recall" in found.evidence

    def test_a_score_that_is_not_the_matrix_s_is_corrected(self) -> None:
        (found,) = audit_numbers(confusion=(5, 0, 0, 9), recall="0.8")
        assert "recall would have to be 1" in found.evidence

    def test_an_accuracy_that_no_test_of_the_size_allows_is_found(self) -> None:
        (found,) = audit_numbers(accuracy="88.975", n=1600)
        assert "1423/1600 = 88.9375 %" in found.evidence
        assert audit_numbers(accuracy="89.375", n=1600) == []

    @pytest.mark.parametrize("averaging", ["binary", "weighted"])
    def test_impossible_triples_are_found_under_each_averaging(self, averaging: str) -> None:
        (found,) = audit_numbers(
            precision="0.81", recall="0.79", f1="0.73", n=2133, positives=1455, averaging=averaging
        )
        assert found.severity == "contradiction"

    def test_auroc_below_the_operating_point_is_found(self) -> None:
        (found,) = audit_numbers(recall="0.90", specificity="0.90", auroc="0.75", n=200)
        assert "auroc 0.75" in found.finding
        assert audit_numbers(recall="0.90", specificity="0.90", auroc="0.93", n=200) == []

    def test_a_mean_that_no_folds_have_is_found(self) -> None:
        told = {"n": 60, "positives": 40, "folds": 5}
        assert audit_numbers(accuracy="0.917", accuracy_sd="0.053", **told) == []
        (found,) = audit_numbers(accuracy="0.917", accuracy_sd="0.410", **told)
        assert "standard deviation" in found.finding

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
        with pytest.raises(PaperError):
            audit_numbers(**wrong)  # type: ignore[arg-type]


class TestCsv:
    def table(self, tmp_path: Path, text: str) -> list[AuditFinding]:
        path = tmp_path / "scores.csv"
        path.write_text(text, encoding="utf-8")
        return audit_csv(path)

    def test_a_table_as_one_would_type_it_is_read(self, tmp_path: Path) -> None:
        text = "Model,n,Acc,Sens,Spec\nA,200,90.0,95.0,85.0\nB,200,80.0,85.0,75.0\n"
        assert self.table(tmp_path, text) == []

    def test_lines_of_one_test_must_share_its_class_split(self, tmp_path: Path) -> None:
        text = "model,n,recall,specificity,accuracy\nA,50,.900,.500,.580\nB,50,.900,.500,.820\n"
        (found,) = self.table(tmp_path, text)
        assert found.rule == "test set"
        assert "A needs 10 positives" in found.evidence
        assert "B needs 40 positives" in found.evidence

    def test_a_total_that_holds_means_is_named(self, tmp_path: Path) -> None:
        text = "model,accuracy\nA,.900\nB,.800\ntotal,.850\n"
        (found,) = self.table(tmp_path, text)
        assert "the row called a total holds means" in found.finding

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model,acuracy\nA,1\n", "unknown column 'acuracy'"),
            ("model,accuracy\nA,high\n", "row 1: accuracy 'high' is no number"),
            ("model,n,accuracy\nA,1.5,.9\n", "row 1: n '1.5' is no whole number"),
            ("model,accuracy\n", "no rows below the header"),
        ],
    )
    def test_mistakes_are_told_with_their_row(
        self, tmp_path: Path, text: str, message: str
    ) -> None:
        with pytest.raises(PaperError, match=re.escape(message)):
            self.table(tmp_path, text)


def test_the_audit_imports_nothing_heavy() -> None:
    code = (
        "import sys, leukobench.papers.audit;"
        "heavy = ('pandas', 'sklearn', 'scipy', 'torch', 'hydra', 'rich');"
        "print([m for m in heavy if m in sys.modules])"
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
        match=r"line 24 \(tables.0.rows.0.overrides.0\): 'modle' is neither a config group",
    ):
        load_paper(path)
