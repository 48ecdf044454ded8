"""Figures as a table for the terminal."""

from rich.table import Table

from benchmarks.figures import Figure


def figure_table(figures: list[Figure]) -> Table:
    """Figures beside their rivals."""
    table = Table(title="Benchmarks")
    for column in ("benchmark", "figure", "rival or floor", "ratio"):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:,.2f} {figure.unit}",
            f"{figure.rival:,.2f} {figure.unit}  ({figure.rival_name})",
            f"{figure.value / figure.rival:.2f}",
        )
    return table
