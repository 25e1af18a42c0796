"""The macros that BUILD files of this repository are made of: adding a file never needs a BUILD edit."""

# What nearly every file includes, precompiled; see precompiled.bzl. Not for folders with options or assembly of their own.
STANDARD_HEADERS = "//tools/bazel:standard"
COPTS = [
    "-include",
    "tools/bazel/standard.h",
]

# runsc and the guest test programs are static, so that they run on (and in) any root file system.
STATIC_PIE = select({
    "//tools/bazel:sanitized": [],
    "//conditions:default": ["-static-pie"],
})

def sandbox_library(name, deps = [], copts = [], exclude = [], testonly = False, **kwargs):
    """All sources and headers of the folder but its *_test.cc, as one library.

    alwayslink: rows and commands register themselves from static initialisers, which a linker would drop.
    """
    assembly = native.glob(["*.S"], exclude = exclude, allow_empty = True)
    own = copts or assembly
    native.cc_library(
        name = name,
        srcs = native.glob(["*.cc"], exclude = ["*_test.cc"] + exclude, allow_empty = True) + assembly,
        hdrs = native.glob(["*.h", "*.inc"], exclude = exclude, allow_empty = True),
        alwayslink = True,
        copts = copts if own else COPTS,
        linkstatic = True,
        testonly = testonly,
        visibility = ["//visibility:public"],
        deps = deps + ([] if own else [STANDARD_HEADERS]),
        **kwargs
    )

def unit_tests(deps, size = "small", tags = [], prefix = "", copts = [], **kwargs):
    """One cc_test for each *_test.cc of the folder, named after the file and `prefix`."""
    for src in native.glob(["*_test.cc"], allow_empty = True):
        native.cc_test(
            name = prefix + src[:-len(".cc")],
            size = size,
            srcs = [src],
            copts = COPTS + copts,
            linkopts = STATIC_PIE,
            linkstatic = True,
            tags = tags,
            deps = deps + [
                STANDARD_HEADERS,
                "@sys//:gmock",
                "@sys//:gtest_main",
            ],
            **kwargs
        )

def guest_programs(name, deps = []):
    """A static program for each *.cc of the folder: what guests exec in tests. `name` is the filegroup of them all."""
    programs = [src[:-len(".cc")] for src in native.glob(["*.cc"], allow_empty = True)]
    for program in programs:
        native.cc_binary(
            name = program,
            testonly = True,
            srcs = [program + ".cc"],
            copts = COPTS,
            linkopts = STATIC_PIE,
            deps = deps + [STANDARD_HEADERS],
        )
    native.filegroup(
        name = name,
        testonly = True,
        srcs = [":" + program for program in programs],
        visibility = ["//visibility:public"],
    )

def syscall_tests(deps = [], data = [], platforms = ["systrap", "ptrace"]):
    """For each <x>_test.cc: a static gtest program <x>_test and the tests <x>_test_{native,systrap,ptrace}.

    The native run keeps the tests honest. A case is skipped on a platform only if tests/ledger says so, with a reason.
    """
    for src in native.glob(["*_test.cc"], allow_empty = True):
        name = src[:-len(".cc")]
        native.cc_binary(
            name = name,
            testonly = True,
            srcs = [src],
            copts = COPTS,
            linkopts = STATIC_PIE,
            deps = deps + [
                STANDARD_HEADERS,
                "@sys//:gmock",
                "@sys//:gtest_main",
            ],
        )
        for platform in ["native"] + platforms:
            runsc = [] if platform == "native" else ["//runsc"]
            native.sh_test(
                name = name + "_" + platform,
                size = "medium",
                srcs = ["//tests:run_guest.sh"],
                args = [
                    platform,
                    "$(location :%s)" % name,
                ],
                data = [
                    ":" + name,
                    "//tests:ledger",
                    "//tests:run_guest.py",
                ] + runsc + data,
                # Guests make namespaces and devices of their own, which Bazel's sandbox would refuse.
                tags = [
                    "local",
                    platform,
                ],
            )
