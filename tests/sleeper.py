"""A program that writes its process id to FILE and sleeps until Ctrl-C; `deaf` ignores that too.

With `leave` it ends at once and leaves a child, whose id it has written to FILE.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

if __name__ == "__main__":
    if "leave" in sys.argv:
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        pathlib.Path(sys.argv[1]).write_text(f"{left.pid}\n")
        sys.exit(3)
    if "deaf" in sys.argv:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        print("out")
        print("err", file=sys.stderr)
        pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()}\n")
        time.sleep(120)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
