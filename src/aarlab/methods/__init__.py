"""weak labels -> predictions: the contract, the parts, and one file a family. `METHODS` is filled
by `library`."""
