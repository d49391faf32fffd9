"""What in published numbers cannot be.

`audit_paper` audits a paper's file, `audit_csv` a table of scores, `audit_numbers` the numbers of
one model. All three put their numbers to one solver (`solver`), which asks whether any result of
the test prints them (`search`: confusion matrices; `folds`: cross-validations), under which
reading (`readings`), and which fewest numbers cannot stand together. Nothing is printed here.
"""

from leukobench.papers.audit.findings import SEVERITIES, AuditFinding, by_severity
from leukobench.papers.audit.paper import UncheckedFact, audit_paper, data_read, unchecked_facts
from leukobench.papers.audit.typed import audit_csv, audit_numbers

__all__ = [
    "SEVERITIES",
    "AuditFinding",
    "UncheckedFact",
    "audit_csv",
    "audit_numbers",
    "audit_paper",
    "by_severity",
    "data_read",
    "unchecked_facts",
]
