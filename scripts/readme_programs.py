#!/usr/bin/env python3
"""Compiles and runs every C program of the README as it stands, against an installed copy of a build.

Usage: readme_programs.py BUILD_DIRECTORY
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
programs = re.findall(r"^```c\n(.*?)^```$", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)
if not programs:
    sys.exit("README.md has no C program")

with tempfile.TemporaryDirectory() as folder:
    stage = pathlib.Path(folder)
    subprocess.run(
        ["cmake", "--install", sys.argv[1], "--prefix", stage / "prefix"], check=True, stdout=subprocess.DEVNULL
    )
    [package] = (stage / "prefix").rglob("gipsec.pc")
    environment = dict(os.environ, PKG_CONFIG_PATH=str(package.parent), LD_LIBRARY_PATH=str(package.parent.parent))
    for number, program in enumerate(programs):
        source, binary = stage / f"{number}.c", stage / str(number)
        source.write_text(program)
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "gipsec"], env=environment, check=True, capture_output=True, text=True
        ).stdout.split()
        subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", source, "-o", binary, *flags], check=True)
        said = subprocess.run([binary], env=environment, check=True, capture_output=True, text=True, timeout=60).stdout
        print(f"program {number}: {said.strip()}")
print(f"{len(programs)} passed, 0 failed")
