"""Reader studies: their files, their readings, one reader and several, and the words for them."""
