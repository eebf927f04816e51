"""What could give a synthetic image away without looking at the lesion."""
