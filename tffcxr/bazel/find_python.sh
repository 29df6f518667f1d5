#!/bin/sh
# Prints the path of a Python that the locked packages exist for, or one line that says what is missing (status 1).
# TFFCXR_PYTHON names one to use instead of the first that fits.

probe='
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 11):
    sys.exit("%s is Python %d.%d" % (sys.executable, *sys.version_info[:2]))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("%s cannot make virtual environments (on Debian and Ubuntu: apt-get install python3-venv)" % sys.executable)
print(getattr(sys, "_base_executable", sys.executable))
'

found=""
for candidate in ${TFFCXR_PYTHON:-python3.11 python3 python3.10}; do
  command -v "$candidate" >/dev/null 2>&1 || continue
  if answer=$("$candidate" -c "$probe" 2>&1); then
    echo "$answer"
    exit 0
  fi
  # A version manager may offer a name that stands for nothing; its explanation is no answer.
  case "$answer" in
    *" is Python "* | *"virtual environments"*) found="${found:+$found; }$answer" ;;
  esac
done
echo "tffcxr needs Python 3.11 (or 3.10) with venv; found: ${found:-none}. TFFCXR_PYTHON=/path/to/python3.11 names another." >&2
exit 1
