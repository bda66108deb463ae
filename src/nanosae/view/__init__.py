"""See a run: plots, a report, a live training page, an explorer; torch is never imported."""
