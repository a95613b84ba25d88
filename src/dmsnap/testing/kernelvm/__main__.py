"""``python -m dmsnap.testing.kernelvm build`` builds the guest beforehand.

With ``packages`` instead of ``build`` it lists the Debian packages that this takes.
"""

from __future__ import annotations

import sys

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm.build import APT_PACKAGES, prepare


def main(arguments: list[str]) -> int:
    """Runs the verb named by ``arguments``; returns the exit status."""
    if arguments == ["packages"]:
        print(*APT_PACKAGES)  # noqa: T201
        return 0
    if arguments != ["build"]:
        print("usage: python -m dmsnap.testing.kernelvm build | packages", file=sys.stderr)  # noqa: T201
        return 2
    try:
        machine = prepare()
    except DmsnapError as error:
        print(f"dmsnap: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"Linux {machine.kernel_version} in {machine.kernel.parent}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
