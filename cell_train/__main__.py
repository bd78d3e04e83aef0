"""`python -m cell_train` is `celltrain`."""

import os
import sys

# `-m` puts the folder one is in first on the path of imports; nothing there is trusted, unless it
# is where this package itself lies.
if not sys.flags.safe_path and not os.path.samefile(
    sys.path[0] or ".", os.path.join(os.path.dirname(__file__), os.pardir)
):
    del sys.path[0]

from cell_train.cli import main

main()
