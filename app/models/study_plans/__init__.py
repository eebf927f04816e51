"""Plans of reader studies: what is assumed of readers, and powers that were simulated once."""
