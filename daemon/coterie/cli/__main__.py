"""`python -m coterie.cli`: the same as the console script `coterie`."""

from coterie.cli.main import main

if __name__ == "__main__":
    main()
