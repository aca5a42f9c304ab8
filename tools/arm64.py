"""Get a CPython for arm64, and what runs it on any processor; `make check-arm64` asks it first.

    python -m tools.arm64 FOLDER

Both are Debian's packages, whose signatures apt checks. They are unpacked into the folder and not installed, by an apt
that knows nothing of this machine's: dpkg, the machine's sources and its architectures stay as they are.
"""

import argparse
import compileall
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree, which

# It has Python 3.13, and no older release has. It is Lambda's version, so that wheels for Lambda fit it.
RELEASE = "trixie"
SOURCE = (
    f"[arch=%s signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {RELEASE} main"
)
# pyarrow and gRPC are written in C++, and bring no library of it.
PYTHON = ("python3.13-minimal:arm64", "libpython3.13-stdlib:arm64", "libstdc++6:arm64")
EMULATOR, EMULATOR_PROGRAM = "qemu-user", "qemu-aarch64"
# The processor of Lambda's arm64, Graviton2, has this core: what the emulator knows beyond it would hide a fault.
CORE = "neoverse-n1"


def command(folder: Path) -> list[str]:
    """Return what runs the arm64 Python that lies in a folder; its arguments follow."""
    root = folder / "arm64"
    return [
        str(folder / EMULATOR_PROGRAM),
        *("-cpu", CORE, "-L", str(root)),
        str(root / "usr" / "bin" / "python3.13"),
    ]


def get(folder: Path) -> None:
    """Fill a folder, which is emptied first.

    Raises `subprocess.CalledProcessError` where a package is not to be had.
    """
    rmtree(folder, ignore_errors=True)
    for made in ("apt/lists/partial", "apt/archives/partial", "apt/parts", "arm64"):
        (folder / made).mkdir(parents=True)
    apt = folder / "apt"
    host = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb {SOURCE % ','.join(sorted({'arm64', host}))}\n")
    # With an empty list of what is installed apt fetches all that Python needs.
    _run(apt, "update")
    _run(apt, "install", "--yes", "--no-install-recommends", "--download-only", *PYTHON)
    for package in (apt / "archives").glob("*.deb"):
        _unpack(package, folder / "arm64")
    _run(apt, "download", f"{EMULATOR}:{host}", cwd=apt)
    for package in apt.glob("*.deb"):
        _unpack(package, apt / "host")
    (apt / "host" / "usr" / "bin" / EMULATOR_PROGRAM).rename(folder / EMULATOR_PROGRAM)
    # What Debian's own base has, and the loader is looked for there.
    (folder / "arm64" / "lib").symlink_to("usr/lib")
    # Debian does this when it installs. Without it the emulated Python compiles what it imports in ten times the time.
    compileall.compile_dir(folder / "arm64" / "usr" / "lib" / "python3.13", quiet=2)
    rmtree(apt)


def _run(apt: Path, *arguments: str, cwd: Path | None = None) -> None:
    where = {
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": apt / "parts",
        "APT::Architecture": "arm64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    options = [f"--option={name}={value}" for name, value in where.items()]
    subprocess.run(
        ["apt-get", "--quiet", "--quiet", *options, *arguments], cwd=cwd, check=True, stdout=subprocess.DEVNULL
    )


def _unpack(package: Path, folder: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.arm64", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("folder", type=lambda given: Path(given).resolve(), help="it is emptied first")
    folder: Path = parser.parse_args(arguments).folder
    if missing := [program for program in ("apt-get", "dpkg-deb") if which(program) is None]:
        print(f"error: {' and '.join(missing)} not found: this works on Debian and what is made of it", file=sys.stderr)
        return 1
    try:
        get(folder)
    except subprocess.CalledProcessError as err:
        print(f"error: {err.cmd[0]} ended with {err.returncode}, and has said why", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
