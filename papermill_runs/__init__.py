"""The harness around the lessons: grids of papermill runs, their records, the report."""
