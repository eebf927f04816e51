"""The model card: what is known of a checkpoint, field by field, in four forms."""
