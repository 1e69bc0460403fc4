"""An audit in words and pictures: one summary of plain values, from which terminal, HTML and PDF are made."""
