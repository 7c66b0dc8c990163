"""What the program for a target is made of: the crates, with the features of the shipped program alone, and the libraries
that are linked in addition. `sbom` and `licenses` share it."""

import json
import os
import re
import subprocess

TOOLS = os.path.dirname(os.path.abspath(__file__))
NOTICES = os.path.join(os.path.dirname(TOOLS), "notices")

# The crates in the standard library (library/Cargo.lock of the pinned version), as far as they are linked. A library
# that is built from source has no code for backtraces, so the second line is then missing from the program.
STANDARD_LIBRARY = {
    "cfg-if": "1.0.4", "hashbrown": "0.16.1", "libc": "0.2.183", "rustc-demangle": "0.1.27",
    "addr2line": "0.25.1", "adler2": "2.0.1", "gimli": "0.32.3", "memchr": "2.7.6", "miniz_oxide": "0.8.9", "object": "0.37.3",
}  # fmt: skip


class Crate:
    def __init__(self, name, version, license):
        self.name, self.version = name, version
        # Some crates separate alternatives by a slash, as cargo once allowed.
        self.license = license.replace("/", " OR ")
        self.dependencies = set()
        self.is_linked = False

    @property
    def key(self):
        return self.name, self.version


class Library:
    """A library that is linked in addition to the crates. `notice` is the name of a file in packaging/notices."""

    def __init__(self, name, version, license, notice, source=None):
        self.name, self.version, self.license, self.notice, self.source = name, version, license, notice, source


def pins():
    with open(os.path.join(TOOLS, "pins"), encoding="utf-8") as file:
        return dict(line.strip().split("=", 1) for line in file if "=" in line and not line.startswith("#"))


def tree(target, edges):
    """Yields depth, name, version and license of each line of `cargo tree`, which leaves out what only tests use."""
    command = ["cargo", "tree", "--quiet", "--locked", "-p", "ycred", "-e", edges, "--target", target, "--prefix", "depth",
               "--format", " {p}|{l}|"]  # fmt: skip
    for line in subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.splitlines():
        match = re.match(r"(\d+) (\S+) v(\S+)[^|]*\|([^|]*)\|", line)
        yield int(match[1]), match[2], match[3], match[4]


def crates(target):
    """Returns the crates that make the program, ycred first. Those that only run during the build are not `is_linked`."""
    found, path = {}, []
    for depth, name, version, license in tree(target, "normal,build"):
        crate = found.setdefault((name, version), Crate(name, version, license))
        path[depth:] = [crate]
        if depth:
            path[depth - 1].dependencies.add(crate.key)
    for _, name, version, _ in tree(target, "normal,no-proc-macro"):
        found[name, version].is_linked = True
    return list(found.values())


def libraries(target):
    """Returns what is linked in addition to the crates."""
    pinned = pins()
    zig = f"zig {pinned['ZIG']}"
    found = [Library("rust-std", pinned["RUST"], "MIT AND Unicode-3.0", "rust-std")]
    if target.endswith("-musl"):
        found += [Library("musl", pinned["MUSL"], "MIT", "musl", zig), Library("libzigc", pinned["ZIG"], "MIT", "zig", zig)]
    if "-linux-" in target:
        found += [
            Library("compiler_rt", pinned["ZIG"], "MIT", "zig", zig),
            Library("llvm-libunwind", pinned["ZIG"], "Apache-2.0 WITH LLVM-exception", "llvm", zig),
        ]
    if target.endswith("-linux-gnu"):
        # The exception for start files has no name in the list of SPDX.
        found.append(Library("libc_nonshared", pinned["GLIBC"], "LGPL-2.1-or-later WITH GCC-exception-2.0", "glibc", zig))
    if target.endswith("-windows-gnu"):
        mingw = f"mingw {pinned['MINGW']}"
        found += [
            Library("libgcc", pinned["MINGW"], "GPL-3.0-or-later WITH GCC-exception-3.1", "mingw", mingw),
            Library("mingw-w64-runtime", pinned["MINGW_W64"], "ZPL-2.1", "mingw", mingw),
            Library("winpthreads", pinned["MINGW_W64"], "MIT AND BSD-3-Clause", "mingw", mingw),
        ]
    if target.endswith("-windows-msvc"):
        # Microsoft permits its distribution, and asks for no notice.
        found.append(Library("msvc-runtime", "of the installed Visual Studio", None, None))
    return found


def directories(target):
    """Returns the directory of each crate's source."""
    command = ["cargo", "metadata", "--quiet", "--format-version", "1", "--locked", "--filter-platform", target]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    return {(package["name"], package["version"]): os.path.dirname(package["manifest_path"]) for package in packages}
