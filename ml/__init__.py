"""The science of Hepatica, usable without the web."""
