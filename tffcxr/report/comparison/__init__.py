"""Several runs beside one another on one page. Start at `comparison_page.write`."""
