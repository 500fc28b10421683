"""The book's builder: it runs chapters, writes the site and the notebooks, and lints the text."""
