"""Known vulnerabilities of the versions in requirements.lock, by pip-audit: `make audit-deps`.

Exits with 0 where there are none, with 1 where there are some, with 2 where nothing was checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
AUDIT = ("tool", "run", "--quiet", "pip-audit", "--progress-spinner", "off", "--disable-pip")


def main(uv: str) -> int:
    """Args:
    uv: The program that fetches and runs pip-audit.
    """
    command = [uv, *AUDIT, "--require-hashes", "--format", "json", "--requirement", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        print(f"nothing was checked, because the advisories could not be read: {said[-1]}")
        return 2
    skipped = [package for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        print("nothing was checked: of no package was there an answer of the advisories")
        return 2
    print(
        f"{len(packages) - len(skipped)} packages checked, {len(skipped)} not known to advisories"
    )
    found = 0
    for package in packages:
        for vulnerability in package.get("vulns", ()):
            found += 1
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
            name, version = package["name"], package["version"]
            print(f"{name} {version}: {vulnerability['id']}, mended in {fixed}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
