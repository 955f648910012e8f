"""What a judgement says: frozen records and their words, numbers as people read them. Computes nothing."""
