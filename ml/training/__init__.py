"""Networks and their training, one at a time. These rooms and the experiment's need PyTorch."""
