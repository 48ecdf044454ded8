"""The texts of a data set, read more closely: parsed captions, their phrases, what is said of person and of clothes."""
