"""What a judgement says: frozen records, their words and number formats. Computes and renders nothing."""
