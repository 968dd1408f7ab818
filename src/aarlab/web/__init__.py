"""The pages of `aar web`: what a campaign does and has found, for who looks on in a browser."""
