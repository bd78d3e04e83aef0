"""`python -m cell_train` is `celltrain`."""

from cell_train.cli import main

main()
