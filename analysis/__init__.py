"""The judgement: numbers in, frozen results out."""
