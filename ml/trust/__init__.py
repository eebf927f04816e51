"""What a prediction carries beside its class: probability, likeness, reasons, what is open."""
