"""For those who move in: other libraries' names and numbers, over this house's deliveries.

Each package here is for the code of one library, of which only the import changes. Nothing below knows of it.
"""

__all__: list[str] = []
