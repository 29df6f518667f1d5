"""What Bazel and continuous integration run to build, test and check this project."""
