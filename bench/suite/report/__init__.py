"""HTML report. `page.py` fills the template `report.html.j2` with the scripts and styles here."""
