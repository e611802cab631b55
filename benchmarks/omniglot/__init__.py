"""Every trainable method on Omniglot: `methods.sh`."""
