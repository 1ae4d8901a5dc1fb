"""What the data preparations of egs share: folders, tables and headers of a corpus, and what is said of them."""
