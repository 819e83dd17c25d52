"""``python -m txmetrics``."""

from txmetrics.console import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
