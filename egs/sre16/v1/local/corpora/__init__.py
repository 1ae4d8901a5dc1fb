"""Readers of the corpora of NIST SRE 2016: from the tables of each release to recordings with speakers."""
