"""Published text: the number that it states, and with how many decimals."""

from __future__ import annotations

import re


def printed_number(text: str) -> float | None:
    """The number that a published text states, percentages as fractions; None where it is not one
    plain number.

    `84.73%`, `83,30%` (decimal comma) and `10,661` (thousands) are read as people read them; of
    `84.7 ± 1.2%`, a mean and its deviation, it is the mean.
    """
    text = text.strip()
    percent = text.endswith("%")
    digits = text.partition("±")[0].strip().removesuffix("%").strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", digits):
        digits = digits.replace(",", "")
    digits = digits.replace(",", ".")
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", digits):
        return None
    # Dividing would leave 77.1 % at 0.7709999999999999; moving the point in the text does not.
    return float(f"{digits}e-2") if percent and "e" not in digits.lower() else float(digits)


def printed_decimals(text: str) -> int:
    """Number of decimals of the number as written: 2 for `84.73%` and for `0.80`, 0 for `87%`."""
    match = re.search(r"[.,](\d+)", text)
    return (
        len(match.group(1)) if match and not re.fullmatch(r"\d{1,3}(,\d{3})+", text.strip()) else 0
    )
