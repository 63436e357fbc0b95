"""Audit locks by pip-audit: locks in; exit code 0 only when every package was looked up and nothing is left to mend.

    python deployment/security/audit.py requirements.lock requirements-serving.lock

A package that could not be looked up is a failure: pip-audit itself goes on, and says that nothing was found. With
`--where-known` it is none where no package at all could be: without advisories there is nothing to compare with.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")
FARTHEST = timedelta(days=90)
"""So far ahead an exception may be granted."""
WHERE_KNOWN = "--where-known"


def main(arguments: Sequence[str]) -> int:
    exceptions = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8")).get("exception", [])
    try:
        dependencies = [one for lock in arguments if lock != WHERE_KNOWN for one in audited(Path(lock))]
    except LookupError as error:
        dependencies = [{"name": "pip-audit", "skip_reason": str(error)}]
    if WHERE_KNOWN in arguments and all("skip_reason" in one for one in dependencies):
        print(f"NOT AUDITED, for no advisories could be had: {dependencies[0]['skip_reason']}")
        return 0
    wrong = findings(dependencies, exceptions, date.today())
    print(
        "\n".join(wrong) or f"{len({one['name'] for one in dependencies})} packages, {len(exceptions)} exceptions: fine"
    )
    return 1 if wrong else 0


def audited(lock: Path) -> list[dict[str, Any]]:
    """What pip-audit says of each package of the lock; LookupError when it says nothing.

    Its own exit code only repeats whether it found something.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"]
    ended = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        dependencies: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        said = ended.stderr.strip()[-2000:]
        raise LookupError(f"pip-audit must tell what it found in {lock}; received: {said}") from error
    return dependencies


def findings(dependencies: Sequence[dict[str, Any]], exceptions: Sequence[dict[str, Any]], today: date) -> list[str]:
    """What is left to be done, in words; empty when nothing is."""
    wrong, used = list[str](), set[int]()
    for one in exceptions:
        if one["until"] <= today:
            wrong.append(f"{one['package']} {one['id']}: its exception ended on {one['until']}. Update, or look again.")
        elif one["until"] > today + FARTHEST:
            wrong.append(
                f"{one['package']} {one['id']}: an exception ends within {FARTHEST.days} days; received {one['until']}."
            )
    for dependency in dependencies:
        name = dependency["name"]
        if "skip_reason" in dependency:
            wrong.append(f"{name}: not audited: {dependency['skip_reason']}")
        for found in dependency.get("vulns", ()):
            names = {found["id"], *found.get("aliases", ())}
            granted = [p for p, one in enumerate(exceptions) if one["package"] == name and one["id"] in names]
            used.update(granted)
            if not granted:
                mended = ", ".join(found.get("fix_versions", ())) or "no version yet"
                wrong.append(f"{name} {dependency['version']}: {found['id']}; mended in {mended}")
    idle = [one for place, one in enumerate(exceptions) if place not in used]
    wrong += [f"{one['package']} {one['id']}: is not found any more. Remove the exception." for one in idle]
    return list(dict.fromkeys(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
