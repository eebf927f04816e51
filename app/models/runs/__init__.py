"""Known lesions, data sets frozen from them, and the experiments on these."""
