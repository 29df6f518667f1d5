"""Local stand-ins for the external repositories that Bazel 4 names in its own tools.

Debian's Bazel 4.2.3 downloads them from GitHub although this project has no C++, Java or protocol
buffer rules of its own: its built-in tools load them to re-export native rules. Writing those few
lines here lets the project build without reaching GitHub. Newer Bazels bring what they need.
"""

_RE_EXPORTED = {
    "rules_cc": ("cc", [
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
    ]),
    "rules_java": ("java", [
        "java_binary",
        "java_import",
        "java_library",
        "java_package_configuration",
        "java_plugin",
        "java_runtime",
        "java_test",
        "java_toolchain",
    ]),
    "rules_proto": ("proto", [
        "proto_lang_toolchain",
        "proto_library",
    ]),
}

def _stand_in_impl(repository_ctx):
    for path, content in repository_ctx.attr.files.items():
        repository_ctx.file(path, content, executable = False)

_stand_in = repository_rule(
    implementation = _stand_in_impl,
    attrs = {"files": attr.string_dict()},
    doc = "A repository made of the given files.",
)

def stand_ins():
    """Defines the stand-ins, for Bazel 4 alone (Debian's build of it reports no version)."""
    if native.bazel_version and not native.bazel_version.startswith("4."):
        return
    for repository, (package, rules) in _RE_EXPORTED.items():
        _stand_in(
            name = repository,
            files = {
                package + "/BUILD": "",
                package + "/defs.bzl": "\n".join([
                    "{rule} = native.{rule}".format(rule = rule)
                    for rule in rules
                ]),
            },
        )
    _stand_in(
        name = "remote_coverage_tools",
        files = {
            "BUILD": "\n".join([
                'filegroup(name = "{}", visibility = ["//visibility:public"])'.format(name)
                for name in ["coverage_report_generator", "lcov_merger"]
            ]),
        },
    )
